-- Resources, which are the APIs that take tokens, and the clients that speak for them.

create or replace function token_service.require_resource(p_resource text) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if not exists (select from resource where id = p_resource) then
        raise exception 'There is no resource "%".', token_service.without_secret(p_resource)
            using errcode = 'no_data_found',
            hint = 'Check its spelling to the last slash, or make it with scripts/create-resource.sql.';
    end if;
end
$$;

comment on function token_service.require_resource(text) is 'Refuses a resource that does not exist.';

revoke all on function token_service.require_resource(text) from public;


create or replace function token_service.create_resource(
    p_resource           text,
    p_scopes             text[]   default array[]::text[],
    p_signing_alg        text     default null,
    p_max_token_lifetime interval default null,
    p_typ                text     default null,
    p_at_once            boolean  default false
) returns text
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_seconds integer;
    v_scope   text;
begin
    if token_service.is_resource_id(p_resource) is not true then
        raise exception 'The resource is neither an absolute URI without a fragment nor a plain name.'
            using errcode = 'check_violation',
            hint = 'Use the identifier of the API, such as https://api.example.com, or the name it already expects as '
                   'aud.';
    end if;

    if p_signing_alg <> 'default' and not token_service.is_signing_algorithm(p_signing_alg) then
        raise exception 'The signing algorithm is not one this server has.'
            using errcode = 'check_violation', hint = 'Use ES256, ES384, RS256 or PS256; "default" is the server''s.';
    end if;

    if not token_service.is_access_token_typ(p_typ) then
        raise exception 'The typ is not one that this server gives to tokens.'
            using errcode = 'check_violation', hint = 'Use at+jwt, or JWT for an API that refuses at+jwt.';
    end if;

    perform token_service.require_token_lifetime(
        'The maximum token lifetime', p_max_token_lifetime, p_example => '5 minutes', p_zero => 'no maximum');
    v_seconds := nullif(extract(epoch from p_max_token_lifetime), 0);

    -- A new resource of a name that a client can have: until this transaction ends, no other one makes a client.
    if token_service.is_client_id(p_resource) and not exists (select from resource where id = p_resource) then
        lock table client in share row exclusive mode;
    end if;
    if exists (select from client where id = p_resource) then
        raise exception 'There is already a client "%".', p_resource
            using errcode = 'unique_violation',
            hint = 'The aud of tokens for a resource is its id, and the aud of answers to introspection is the '
                   'client_id. Choose another name, or a URI, so that no API takes the one for the other.';
    end if;

    -- The server issues no token in another algorithm than the resource's, so its clients would get 503. Before the first
    -- start of a server there is no key at all, and at that start the first key of each algorithm signs at once.
    if p_signing_alg <> 'default'
        and p_at_once is not true
        and p_signing_alg is distinct from (select signing_alg from resource where id = p_resource)
        and exists (select from client_scope where resource = p_resource)
        and exists (select from signing_key)
        and (token_service.algorithm_signs_from(p_signing_alg) <= token_service.instant()) is not true then
        raise exception 'No % key signs yet, so the clients of resource "%" would get no token until one does.',
                p_signing_alg, p_resource
            using errcode = 'object_not_in_prerequisite_state',
            hint = format(
                'Make a resource that no client uses, and run this again when its key signs: '
                '-v resource=%s-keys -v signing_alg=%s says from when. Or pass -v at_once=on.',
                lower(p_signing_alg), p_signing_alg);
    end if;

    insert into resource (id) values (p_resource) on conflict do nothing;
    update resource
    set signing_alg = case when p_signing_alg is null then signing_alg else nullif(p_signing_alg, 'default') end,
        max_token_lifetime_seconds =
            case when p_max_token_lifetime is null then max_token_lifetime_seconds else v_seconds end,
        typ = coalesce(p_typ, typ)
    where id = p_resource
      and (p_signing_alg is not null or p_max_token_lifetime is not null or p_typ is not null);

    foreach v_scope in array coalesce(p_scopes, array[]::text[]) loop
        perform token_service.require_scope_token(v_scope);
        insert into scope (resource, name) values (p_resource, v_scope) on conflict do nothing;
    end loop;
    return p_resource;
end
$$;

comment on function token_service.create_resource(text, text[], text, interval, text, boolean) is
    'Makes a resource. Where it exists, adds the scopes it lacks, and sets its signing algorithm, the maximum lifetime '
    'of its tokens and their typ if they are given. 0 removes the maximum. A running server publishes the first key of '
    'an algorithm within seconds; tokens for the resource come when it signs (algorithm_signs_from), and until then '
    '/token answers 503. Where that would meet clients of the resource, the algorithm is refused, unless p_at_once is '
    'true. Returns its id.';

revoke all on function token_service.create_resource(text, text[], text, interval, text, boolean) from public;
grant execute on function token_service.create_resource(text, text[], text, interval, text, boolean)
    to token_service_admin;


create or replace function token_service.register_resource_server(p_client_id text, p_resource text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_resource(p_resource);
    insert into resource_server (client_id, resource) values (p_client_id, p_resource) on conflict do nothing;
end
$$;

comment on function token_service.register_resource_server(text, text) is
    'Lets a client speak for a resource: it may introspect the tokens for it (RFC 7662 §2.1).';

revoke all on function token_service.register_resource_server(text, text) from public;
grant execute on function token_service.register_resource_server(text, text) to token_service_admin;


create or replace function token_service.unregister_resource_server(p_client_id text, p_resource text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_resource(p_resource);
    delete from resource_server where client_id = p_client_id and resource = p_resource;
end
$$;

comment on function token_service.unregister_resource_server(text, text) is
    'Unregisters a client for a resource: it may no longer introspect the tokens for it.';

revoke all on function token_service.unregister_resource_server(text, text) from public;
grant execute on function token_service.unregister_resource_server(text, text) to token_service_admin;


-- A resource that has just been made belongs to no client yet, so an INSERT notifies nobody.
select token_service.attach_triggers('resource', 'client', null, array['id'], 'DELETE OR UPDATE');
select token_service.attach_triggers('resource_server', 'client', 'client_id', array['client_id', 'resource']);
