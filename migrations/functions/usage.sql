-- How much credentials and scopes are used. The server calls the functions.

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
    -- The join leaves out credentials that were deleted meanwhile. The rows are written in the order of their keys, so that
    -- replicas that write at the same time do not deadlock; the function delete_client locks in the same order.
    insert into credential_use as u (
        kind, credential_id, client_id, use_count, first_used_at, last_used_at, last_used_from)
    select t.kind, t.id, coalesce(s.client_id, k.client_id), t.uses, t.first_at, t.last_at, t.last_from
    from unnest(p_kinds, p_ids, p_counts, p_first_at, p_last_at, p_last_from)
        as t (kind, id, uses, first_at, last_at, last_from)
    left join client_secret s on t.kind = 'secret' and s.id = t.id
    left join client_key k
        on t.kind = 'key' and k.client_id = split_part(t.id, ' ', 1) and k.kid = split_part(t.id, ' ', 2)
    where s.id is not null
       or k.kid is not null
    order by t.kind, t.id
    on conflict (kind, credential_id) do update
    -- One row whose count is at its end must not keep all others from being written.
    set use_count = least(u.use_count::numeric + excluded.use_count, 9223372036854775807)::bigint,
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
    -- One row whose count is at its end must not keep all others from being written.
    set use_count = least(u.use_count::numeric + excluded.use_count, 9223372036854775807)::bigint,
        first_used_at = least(u.first_used_at, excluded.first_used_at),
        last_used_at = greatest(u.last_used_at, excluded.last_used_at)
$$;

comment on function token_service.add_scope_use(text[], text[], text[], bigint[], timestamptz[], timestamptz[]) is
    'Adds uses to those of each scope of a client. Each argument has one element for each of these.';

revoke all on function token_service.add_scope_use(text[], text[], text[], bigint[], timestamptz[], timestamptz[])
    from public;
grant execute on function token_service.add_scope_use(text[], text[], text[], bigint[], timestamptz[], timestamptz[])
    to token_service_app;


create or replace function token_service.keep_last_use() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    -- A secret in use that looked unused would be retired.
    new.last_used_at := greatest(new.last_used_at, old.last_used_at);
    return new;
end
$$;

comment on function token_service.keep_last_use() is 'Keeps a date of last use from going back.';

revoke all on function token_service.keep_last_use() from public;


select token_service.ensure_trigger('credential_use', 'credential_use_last_use',
    'BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION token_service.keep_last_use()');
select token_service.ensure_trigger('scope_use', 'scope_use_last_use',
    'BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION token_service.keep_last_use()');
