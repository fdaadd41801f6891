-- Tokens that are dead before they expire: one by one, and all that a client got up to an instant.

-- The server writes here when a client revokes one of its tokens. There is no foreign key: a token stays revoked when
-- its client is deleted.
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

comment on table token_service.revoked_token is
    'The tokens that clients revoked (RFC 7009), until some time after they have expired.';
comment on column token_service.revoked_token.jti is 'The token''s jti.';
comment on column token_service.revoked_token.client_id is 'The client whose token it is.';
comment on column token_service.revoked_token.expires_at is 'The token''s exp.';
comment on column token_service.revoked_token.revoked_at is 'When the token was revoked.';


-- There is no foreign key here either: deleting a client and making another of the same id revives no token.
create table token_service.tokens_not_before (
    client_id  text        not null,
    not_before timestamptz not null,

    constraint tokens_not_before_pkey primary key (client_id),
    constraint tokens_not_before_representable check (token_service.is_representable(not_before))
);

create index tokens_not_before_not_before on token_service.tokens_not_before (not_before);

comment on table token_service.tokens_not_before is
    'The clients whose tokens up to an instant are dead, until the last of these tokens would have expired.';
comment on column token_service.tokens_not_before.client_id is 'The client; it may have been deleted.';
comment on column token_service.tokens_not_before.not_before is 'Its tokens issued up to this instant are dead.';
