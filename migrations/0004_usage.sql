create table token_service.secret_use (
    secret_id      text        not null,
    first_used_at  timestamptz not null,
    last_used_at   timestamptz not null,
    last_used_from inet,
    use_count      bigint      not null,

    constraint secret_use_pkey primary key (secret_id),
    constraint secret_use_secret_fkey foreign key (secret_id) references token_service.client_secret (id) on delete cascade,
    constraint secret_use_dates_in_order check (last_used_at >= first_used_at),
    constraint secret_use_count_positive check (use_count > 0)
) with (fillfactor = 70); -- room for the next version of a row on its page

comment on table token_service.secret_use is 'How much a secret is used: written by each replica every 30 seconds. No row: never used.';
comment on column token_service.secret_use.secret_id is 'The secret.';
comment on column token_service.secret_use.first_used_at is 'When it first proved right; use_count counts from here.';
comment on column token_service.secret_use.last_used_at is 'When it last proved right.';
comment on column token_service.secret_use.last_used_from is 'The address that request came from, as far as the configured proxies tell it.';
comment on column token_service.secret_use.use_count is 'How often it proved right.';


create table token_service.scope_use (
    client_id     text        not null,
    scope         text        not null,
    first_used_at timestamptz not null,
    last_used_at  timestamptz not null,
    use_count     bigint      not null,

    constraint scope_use_pkey primary key (client_id, scope),
    constraint scope_use_client_scope_fkey foreign key (client_id, scope)
        references token_service.client_scope (client_id, scope) on update cascade on delete cascade,
    constraint scope_use_dates_in_order check (last_used_at >= first_used_at),
    constraint scope_use_count_positive check (use_count > 0)
) with (fillfactor = 70);

comment on table token_service.scope_use is
    'How much a client uses a scope: written by each replica every 30 seconds. No row: never asked for since it was granted.';
comment on column token_service.scope_use.client_id is 'Who asked.';
comment on column token_service.scope_use.scope is 'For what, by name or as one of its default scopes.';
comment on column token_service.scope_use.first_used_at is 'When a token with it was first issued; use_count counts from here.';
comment on column token_service.scope_use.last_used_at is 'When a token with it was last issued.';
comment on column token_service.scope_use.use_count is 'How many tokens were.';
