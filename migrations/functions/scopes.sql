create or replace function token_service.require_scope_grammar(p_scope text) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if p_scope is null or p_scope !~ '^[\x21\x23-\x5B\x5D-\x7E]{1,128}$' then
        raise exception 'A scope is outside the grammar.'
            using errcode = 'check_violation',
            hint = 'A scope is 1 to 128 printable ASCII characters without space, quotation mark and backslash (RFC 6749 §3.3).';
    end if;
end
$$;

comment on function token_service.require_scope_grammar(text) is
    'Refuses what is no scope-token of RFC 6749 §3.3.';

revoke all on function token_service.require_scope_grammar(text) from public;


create or replace function token_service.require_scope(p_scope text) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform token_service.require_scope_grammar(p_scope);
    if not exists (select from scope where name = p_scope) then
        raise exception 'There is no scope "%".', regexp_replace(p_scope, '^tsvc_.*', 'tsvc_…')
            using errcode = 'no_data_found', hint = 'Check its spelling, or make it with scripts/create-resource.sql: a scope belongs to a resource.';
    end if;
end
$$;

comment on function token_service.require_scope(text) is
    'Refuses a scope that is not there.';

revoke all on function token_service.require_scope(text) from public;


create or replace function token_service.grant_scope(
    p_client_id  text,
    p_scope      text,
    p_is_default boolean default null
) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_scope(p_scope);

    insert into client_scope (client_id, scope, is_default)
    values (p_client_id, p_scope, coalesce(p_is_default, false))
    on conflict (client_id, scope) do update set is_default = p_is_default where client_scope.is_default <> p_is_default;
end
$$;

comment on function token_service.grant_scope(text, text, boolean) is
    'Lets a client ask for a scope. A request that names none gets it if it is a default; null leaves that as it is, which is not, at first.';

revoke all on function token_service.grant_scope(text, text, boolean) from public;
grant execute on function token_service.grant_scope(text, text, boolean) to token_service_admin;


create or replace function token_service.revoke_scope(p_client_id text, p_scope text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_scope(p_scope);
    delete from client_scope where client_id = p_client_id and scope = p_scope;
    if found and not exists (select from client_scope where client_id = p_client_id) then
        raise warning 'Client "%" has no scope left, so it can get no token.', p_client_id
            using hint = 'Grant it one with scripts/grant-scope.sql, or disable it with scripts/disable-client.sql.';
    end if;
end
$$;

comment on function token_service.revoke_scope(text, text) is
    'Takes a scope from a client. Tokens that have it stay good until they expire, at APIs that verify offline.';

revoke all on function token_service.revoke_scope(text, text) from public;
grant execute on function token_service.revoke_scope(text, text) to token_service_admin;


select token_service.attach_triggers('scope', 'client', null, array['name'], 'DELETE OR UPDATE');
