-- What holds for all clients (policy), how much each secret and scope is used (secret_use, scope_use), claims and a ceiling of
-- a client's own (client.extra_claims, tokens_per_minute), and triggers that tell every replica which client has changed.

-- The claims we set, those of RFC 7519 §4.1, and those from which an API concludes who a person is or what they may do: a client
-- must not be able to pass for one (RFC 9700 §4.15).
create function token_service.reserved_claims() returns text[]
    language sql immutable parallel safe
    set search_path = pg_catalog
as $$
    select array[
        'iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'scope', 'scp', 'cnf', 'act', 'may_act', 'azp', 'typ',
        'nonce', 'at_hash', 'c_hash', 'auth_time', 'acr', 'amr', 'sid', 'events', 'authorization_details', 'sub_id', 'idp',
        'htm', 'htu', 'ath', 'actort', 'tid', 'oid', 'upn', 'nameid', 'unique_name',
        'groups', 'group', 'roles', 'role', 'entitlements', 'permissions',
        'name', 'given_name', 'family_name', 'middle_name', 'nickname', 'preferred_username', 'username', 'email', 'email_verified',
        'phone_number', 'phone_number_verified'
    ]
$$;

comment on function token_service.reserved_claims() is 'Claims that no client may have as an extra.';

-- Those, and the long names by which .NET knows a name or a role.
create function token_service.reserved_among(p_claims jsonb) returns text
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select string_agg(claim, ', ' order by claim)
    from jsonb_object_keys(case jsonb_typeof(p_claims) when 'object' then p_claims else '{}' end) as claim
    where claim = any (token_service.reserved_claims())
       or claim ~ '^https?://schemas[.]'
$$;

comment on function token_service.reserved_among(jsonb) is 'Which of these claims are reserved; null: none.';

alter table token_service.client
    add column tokens_per_minute integer,
    add column extra_claims jsonb not null default '{}',
    add constraint client_tokens_per_minute_range check (tokens_per_minute between 1 and 1000000),
    add constraint client_extra_claims_are_an_object check (jsonb_typeof(extra_claims) = 'object'),
    add constraint client_extra_claims_not_reserved check (token_service.reserved_among(extra_claims) is null),
    -- They travel with every request to an API, in a header.
    add constraint client_extra_claims_size check (octet_length(extra_claims::text) <= 1024);

comment on column token_service.client.tokens_per_minute is 'How many tokens each replica gives it at once, an allowance that is whole again in a minute; null: any number.';
-- What no reader could represent: infinity, or a year of five digits, which is a slip of the hand.
alter table token_service.client_secret add constraint client_secret_dates_representable check (
    not_before > '1900-01-01Z' and greatest(not_before, expires_at, revoked_at) < '9000-01-01Z'
    and least(expires_at, revoked_at) > '1900-01-01Z'
);

comment on column token_service.client.extra_claims is 'Claims for its tokens beside those of RFC 9068 §2.2; at most 1024 bytes.';


create table token_service.policy (
    id                  boolean     not null default true,
    maximum_secret_age  interval,
    maximum_overlap     interval    not null default '30 days',
    minimum_digest_cost integer     not null default 38912,
    uses_counted_since  timestamptz not null default now(),

    constraint policy_pkey primary key (id),
    constraint policy_is_one_row check (id),
    constraint policy_maximum_secret_age_range check (maximum_secret_age between interval '1 day' and interval '3650 days'),
    constraint policy_maximum_overlap_range check (maximum_overlap between interval '0' and interval '365 days'),
    constraint policy_minimum_digest_cost_range check (minimum_digest_cost between 8192 and 655360)
);

insert into token_service.policy default values;

comment on table token_service.policy is 'What holds for all clients: one row.';
comment on column token_service.policy.id is 'Always true, so that there is one row.';
comment on column token_service.policy.maximum_secret_age is 'Secrets are refused once they are older, from 1 to 3650 days; null: no such end.';
comment on column token_service.policy.maximum_overlap is 'The longest a rotation may leave old secrets alive, up to 365 days.';
comment on column token_service.policy.uses_counted_since is
    'Since when uses are counted: what was not used before that is not known to have been idle.';
comment on column token_service.policy.minimum_digest_cost is
    'Argon2id m (KiB) times t: a digest that costs less is reported as weak. Default 38912, which is m=19456 and t=2.';

create function token_service.secret_ends_at(p_created_at timestamptz, p_expires_at timestamptz) returns timestamptz
    language sql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select least(p_expires_at, p_created_at + (select maximum_secret_age from policy))
$$;

comment on function token_service.secret_ends_at(timestamptz, timestamptz) is
    'When a secret expires: at its own date or by the maximum age, whichever comes first; null: never.';


-- Tables of their own, since they are written every half minute: who reads client or client_secret is not told, nor is the audit.
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


-- Arguments of the trigger: what changed, and the column that names which; without one, any of them may have.
create or replace function token_service.notify_change() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_what text := coalesce(tg_argv[0], tg_table_name);
begin
    -- What changes nothing wakes nobody.
    if tg_op = 'UPDATE' and old is not distinct from new then
        return null;
    end if;
    if tg_op in ('UPDATE', 'DELETE') then
        perform pg_notify('token_service', concat_ws(' ', v_what, to_jsonb(old) ->> tg_argv[1]));
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        perform pg_notify('token_service', concat_ws(' ', v_what, to_jsonb(new) ->> tg_argv[1]));
    end if;
    if tg_op = 'TRUNCATE' then
        perform pg_notify('token_service', v_what);
    end if;
    return null;
end
$$;

comment on function token_service.notify_change() is 'NOTIFY token_service with what changed and, where it has one, its id.';

create trigger signing_key_notify_truncate after truncate on token_service.signing_key
    for each statement execute function token_service.notify_change();

create trigger client_notify after insert or update or delete on token_service.client
    for each row execute function token_service.notify_change('client', 'id');
create trigger client_notify_truncate after truncate on token_service.client
    for each statement execute function token_service.notify_change('client');

create trigger client_secret_notify after insert or update or delete on token_service.client_secret
    for each row execute function token_service.notify_change('client', 'client_id');
create trigger client_secret_notify_truncate after truncate on token_service.client_secret
    for each statement execute function token_service.notify_change('client');

create trigger client_scope_notify after insert or update or delete on token_service.client_scope
    for each row execute function token_service.notify_change('client', 'client_id');
create trigger client_scope_notify_truncate after truncate on token_service.client_scope
    for each statement execute function token_service.notify_change('client');

-- A new scope or resource is nobody's yet.
create trigger scope_notify after update or delete on token_service.scope
    for each row execute function token_service.notify_change('client');
create trigger scope_notify_truncate after truncate on token_service.scope
    for each statement execute function token_service.notify_change('client');

create trigger resource_notify after update or delete on token_service.resource
    for each row execute function token_service.notify_change('client');
create trigger resource_notify_truncate after truncate on token_service.resource
    for each statement execute function token_service.notify_change('client');

create trigger policy_notify after insert or update or delete on token_service.policy
    for each row execute function token_service.notify_change('client');
create trigger policy_notify_truncate after truncate on token_service.policy
    for each statement execute function token_service.notify_change('client');
