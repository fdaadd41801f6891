-- How much credentials and scopes are used. The server calls these functions, and cannot write the tables otherwise: a
-- date of last use never goes back, so nobody can make a secret look unused.

create or replace function token_service.add_credential_use(
    p_kinds     text[],
    p_ids       text[],
    p_counts    bigint[],
    p_first_at  timestamptz[],
    p_last_at   timestamptz[],
    p_last_from inet[]
) returns void
    language sql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
    -- The join leaves out secrets that were deleted meanwhile. The rows are written in the order of their keys, so that
    -- replicas that write at the same time do not deadlock; the function delete_client locks in the same order.
    insert into credential_use as u (
        kind, credential_id, client_id, use_count, first_used_at, last_used_at, last_used_from)
    select t.kind, t.id, s.client_id, t.uses, t.first_at, t.last_at, t.last_from
    from unnest(p_kinds, p_ids, p_counts, p_first_at, p_last_at, p_last_from)
        as t (kind, id, uses, first_at, last_at, last_from)
    join client_secret s on t.kind = 'secret' and s.id = t.id
    order by t.kind, t.id
    on conflict (kind, credential_id) do update
    set use_count = u.use_count + excluded.use_count,
        first_used_at = least(u.first_used_at, excluded.first_used_at),
        last_used_from =
            case when excluded.last_used_at >= u.last_used_at then excluded.last_used_from else u.last_used_from end,
        last_used_at = greatest(u.last_used_at, excluded.last_used_at)
$$;

comment on function
    token_service.add_credential_use(text[], text[], bigint[], timestamptz[], timestamptz[], inet[]) is
    'Adds uses to those of each credential. Each argument has one element for each credential.';

revoke all on function
    token_service.add_credential_use(text[], text[], bigint[], timestamptz[], timestamptz[], inet[])
    from public;
grant execute on function
    token_service.add_credential_use(text[], text[], bigint[], timestamptz[], timestamptz[], inet[])
    to token_service_app;


create or replace function token_service.add_scope_use(
    p_client_ids text[],
    p_resources  text[],
    p_scopes     text[],
    p_counts     bigint[],
    p_first_at   timestamptz[],
    p_last_at    timestamptz[]
) returns void
    language sql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
    insert into scope_use as u (client_id, resource, scope, use_count, first_used_at, last_used_at)
    select t.client_id, t.resource, t.scope, t.uses, t.first_at, t.last_at
    from unnest(p_client_ids, p_resources, p_scopes, p_counts, p_first_at, p_last_at)
        as t (client_id, resource, scope, uses, first_at, last_at)
    join client_scope cs on cs.client_id = t.client_id and cs.resource = t.resource and cs.scope = t.scope
    order by t.client_id, t.resource, t.scope
    on conflict (client_id, resource, scope) do update
    set use_count = u.use_count + excluded.use_count,
        first_used_at = least(u.first_used_at, excluded.first_used_at),
        last_used_at = greatest(u.last_used_at, excluded.last_used_at)
$$;

comment on function token_service.add_scope_use(text[], text[], text[], bigint[], timestamptz[], timestamptz[]) is
    'Adds uses to those of each scope of a client. Each argument has one element for each of these.';

revoke all on function token_service.add_scope_use(text[], text[], text[], bigint[], timestamptz[], timestamptz[])
    from public;
grant execute on function token_service.add_scope_use(text[], text[], text[], bigint[], timestamptz[], timestamptz[])
    to token_service_app;
