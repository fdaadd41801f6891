-- Scopes, and the clients that hold them.

create or replace function token_service.require_scope_token(p_scope text) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if token_service.is_scope_token(p_scope) is not true then
        raise exception 'A scope is outside the grammar.'
            using errcode = 'check_violation',
            hint = 'A scope is 1 to 128 printable ASCII characters without space, quotation mark and backslash '
                   '(RFC 6749 §3.3).';
    end if;
end
$$;

comment on function token_service.require_scope_token(text) is 'Refuses a name that no scope can have (RFC 6749 §3.3).';

revoke all on function token_service.require_scope_token(text) from public;


create or replace function token_service.resource_of_scope(p_scope text, p_resource text, p_held_by text default null)
    returns text
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_resources text[];
begin
    perform token_service.require_scope_token(p_scope);

    if p_resource is not null then
        perform token_service.require_resource(p_resource);
        if not exists (select from scope where name = p_scope and resource = p_resource) then
            raise exception 'Resource "%" has no scope "%".', p_resource, token_service.without_secret(p_scope)
                using errcode = 'no_data_found',
                hint = 'Check its spelling, or make it with scripts/create-resource.sql.';
        end if;
        return p_resource;
    end if;

    select array_agg(resource order by resource) into v_resources
    from client_scope
    where scope = p_scope
      and client_id = p_held_by;
    if v_resources is null then
        select array_agg(resource order by resource) into v_resources from scope where name = p_scope;
    end if;

    if v_resources is null then
        raise exception 'There is no scope "%".', token_service.without_secret(p_scope)
            using errcode = 'no_data_found',
            hint = 'Check its spelling, or make it with scripts/create-resource.sql: a scope belongs to a resource.';
    end if;
    if cardinality(v_resources) > 1 then
        raise exception 'Several resources have a scope "%": %.',
                token_service.without_secret(p_scope), array_to_string(v_resources, ', ')
            using errcode = 'cardinality_violation', hint = 'Say which one is meant, with -v resource=….';
    end if;
    return v_resources[1];
end
$$;

comment on function token_service.resource_of_scope(text, text, text) is
    'The resource whose scope is meant: the one that is given, or else the only one with a scope of that name, among '
    'the scopes that a client holds or, where it holds none of that name, among all. Refuses a scope that does not '
    'exist, and a name that several resources have.';

revoke all on function token_service.resource_of_scope(text, text, text) from public;


create or replace function token_service.grant_scope(
    p_client_id  text,
    p_scope      text,
    p_is_default boolean default null,
    p_resource   text    default null
) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_resource text;
begin
    perform token_service.require_client(p_client_id);
    v_resource := token_service.resource_of_scope(p_scope, p_resource);

    insert into client_scope (client_id, resource, scope, is_default)
    values (p_client_id, v_resource, p_scope, coalesce(p_is_default, false))
    on conflict (client_id, resource, scope) do update
        set is_default = p_is_default
        where client_scope.is_default <> p_is_default;
end
$$;

comment on function token_service.grant_scope(text, text, boolean, text) is
    'Lets a client ask for a scope. A request that names no scope gets it if it is a default; null leaves that as it '
    'is, and a new grant is no default. The resource may be left out where only one has a scope of that name.';

revoke all on function token_service.grant_scope(text, text, boolean, text) from public;
grant execute on function token_service.grant_scope(text, text, boolean, text) to token_service_admin;


create or replace function token_service.revoke_scope(p_client_id text, p_scope text, p_resource text default null)
    returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_resource text;
begin
    perform token_service.require_client(p_client_id);
    v_resource := token_service.resource_of_scope(p_scope, p_resource, p_held_by => p_client_id);

    delete from client_scope where client_id = p_client_id and resource = v_resource and scope = p_scope;
    if found and not exists (select from client_scope where client_id = p_client_id) then
        raise warning 'Client "%" has no scope left, so it can get no token.', p_client_id
            using hint = 'Grant it one with scripts/grant-scope.sql, or disable it with scripts/disable-client.sql.';
    end if;
end
$$;

comment on function token_service.revoke_scope(text, text, text) is
    'Takes a scope from a client. An API that verifies offline takes the tokens that have it until they expire. The '
    'resource may be left out where the client holds only one scope of that name.';

revoke all on function token_service.revoke_scope(text, text, text) from public;
grant execute on function token_service.revoke_scope(text, text, text) to token_service_admin;


-- A scope that has just been made is held by no client yet, so an INSERT notifies nobody.
select token_service.attach_triggers('scope', 'client', null, array['resource', 'name'], 'DELETE OR UPDATE');
select token_service.attach_triggers('client_scope', 'client', 'client_id', array['client_id', 'resource', 'scope']);
