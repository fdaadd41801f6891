-- How much credentials and scopes are used. Each replica adds its counts every 30 seconds, so they have tables of their
-- own: a write here notifies nobody, and the audit log does not record it.

create table token_service.credential_use (
    kind           text        not null,
    credential_id  text        not null,
    client_id      text        not null,
    first_used_at  timestamptz not null,
    last_used_at   timestamptz not null,
    last_used_from inet,
    use_count      bigint      not null,

    constraint credential_use_pkey primary key (kind, credential_id),
    constraint credential_use_client_fkey foreign key (client_id)
        references token_service.client (id) on delete cascade,
    constraint credential_use_kind_known check (kind in ('secret')),
    constraint credential_use_dates_in_order check (last_used_at >= first_used_at),
    constraint credential_use_count_positive check (use_count > 0)
) with (fillfactor = 70); -- room for the next version of a row on its page

create index credential_use_client_id on token_service.credential_use (client_id);

comment on table token_service.credential_use is
    'How much each credential is used. A credential without a row was never used.';
comment on column token_service.credential_use.kind is 'The kind of credential: secret.';
comment on column token_service.credential_use.credential_id is 'Its id within its kind: client_secret.id.';
comment on column token_service.credential_use.client_id is 'The client whose credential it is.';
comment on column token_service.credential_use.first_used_at is
    'When the credential was first verified with success. The count begins here.';
comment on column token_service.credential_use.last_used_at is 'When it was last verified with success.';
comment on column token_service.credential_use.last_used_from is
    'The address that the last request came from, as far as the configured proxies tell it.';
comment on column token_service.credential_use.use_count is 'How often it was verified with success.';


create table token_service.scope_use (
    client_id     text        not null,
    resource      text        not null,
    scope         text        not null,
    first_used_at timestamptz not null,
    last_used_at  timestamptz not null,
    use_count     bigint      not null,

    constraint scope_use_pkey primary key (client_id, resource, scope),
    constraint scope_use_client_scope_fkey foreign key (client_id, resource, scope)
        references token_service.client_scope (client_id, resource, scope) on update cascade on delete cascade,
    constraint scope_use_dates_in_order check (last_used_at >= first_used_at),
    constraint scope_use_count_positive check (use_count > 0)
) with (fillfactor = 70);

comment on table token_service.scope_use is
    'How much each client uses each of its scopes. A scope without a row was not asked for since it was granted.';
comment on column token_service.scope_use.client_id is 'The client that asked.';
comment on column token_service.scope_use.resource is 'The resource to which the scope belongs.';
comment on column token_service.scope_use.scope is
    'The scope''s name. The request named it, or got it as one of the client''s default scopes.';
comment on column token_service.scope_use.first_used_at is
    'When a token with the scope was first issued. The count begins here.';
comment on column token_service.scope_use.last_used_at is 'When a token with the scope was last issued.';
comment on column token_service.scope_use.use_count is 'How many tokens with the scope were issued.';
