create table token_service.revoked_token (
    jti        text        not null,
    client_id  text        not null,
    expires_at timestamptz not null,
    revoked_at timestamptz not null default now(),

    constraint revoked_token_pkey primary key (jti),
    constraint revoked_token_jti_grammar check (jti ~ '^[A-Za-z0-9_-]{1,64}$')
);

create index revoked_token_expires_at on token_service.revoked_token (expires_at);
create index revoked_token_client_id_expires_at on token_service.revoked_token (client_id, expires_at);

comment on table token_service.revoked_token is 'Tokens revoked by their clients (RFC 7009), until a while after they have expired.';
comment on column token_service.revoked_token.jti is 'Which token.';
comment on column token_service.revoked_token.client_id is 'Whose it is.';
comment on column token_service.revoked_token.expires_at is 'Its exp.';
comment on column token_service.revoked_token.revoked_at is 'When it was revoked.';


create table token_service.tokens_not_before (
    client_id  text        not null,
    not_before timestamptz not null,

    constraint tokens_not_before_pkey primary key (client_id),
    constraint tokens_not_before_representable check (not_before between '1900-01-01Z' and '9000-01-01Z')
);

create index tokens_not_before_not_before on token_service.tokens_not_before (not_before);

comment on table token_service.tokens_not_before is
    'Clients whose tokens up to an instant are dead, until a while after the longest of them would have expired.';
comment on column token_service.tokens_not_before.client_id is 'Whose tokens.';
comment on column token_service.tokens_not_before.not_before is 'Those issued up to this instant.';
