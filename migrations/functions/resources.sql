create or replace function token_service.require_resource(p_resource text) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if not exists (select from resource where audience = p_resource) then
        raise exception 'There is no resource "%".', regexp_replace(coalesce(p_resource, ''), '^tsvc_.*', 'tsvc_…')
            using errcode = 'no_data_found', hint = 'Check its spelling to the last slash, or make it with scripts/create-resource.sql.';
    end if;
end
$$;

comment on function token_service.require_resource(text) is
    'Refuses a resource that is not there.';

revoke all on function token_service.require_resource(text) from public;


create or replace function token_service.create_resource(
    p_resource               text,
    p_scopes                 text[]   default array[]::text[],
    p_signing_alg            text     default null,
    p_max_token_lifetime interval default null
) returns text
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_seconds numeric := extract(epoch from p_max_token_lifetime);
    v_scope   text;
    v_owner   text;
begin
    if p_resource is null or p_resource !~ '^[A-Za-z][A-Za-z0-9+.-]*:[\x21\x24-\x3B\x3D\x3F-\x5B\x5D\x5F\x61-\x7A\x7E]+$'
        or char_length(p_resource) > 256 then
        raise exception 'The resource is not an absolute URI without a fragment.'
            using errcode = 'check_violation', hint = 'Use the identifier of the API, such as https://api.example.com.';
    end if;

    if p_signing_alg not in ('ES256', 'ES384', 'RS256', 'PS256', 'default') then
        raise exception 'The signing algorithm is not one this server has.'
            using errcode = 'check_violation', hint = 'Use ES256, ES384, RS256 or PS256; "default" is the server''s.';
    end if;

    if v_seconds <> 0 and (v_seconds not between 60 and 86400 or v_seconds <> trunc(v_seconds)) then
        raise exception 'The maximum token lifetime is not 1 minute to 1 day in whole seconds.'
            using errcode = 'check_violation', hint = 'Say something like ''5 minutes''; ''0'' is no maximum.';
    end if;

    insert into resource (audience) values (p_resource) on conflict do nothing;
    update resource
    set signing_alg = case when p_signing_alg is null then signing_alg else nullif(p_signing_alg, 'default') end,
        max_token_lifetime_seconds =
            case when p_max_token_lifetime is null then max_token_lifetime_seconds else nullif(v_seconds, 0)::integer end
    where audience = p_resource
      and (p_signing_alg is not null or p_max_token_lifetime is not null);

    foreach v_scope in array coalesce(p_scopes, array[]::text[]) loop
        perform token_service.require_scope_grammar(v_scope);
        insert into scope (name, audience) values (v_scope, p_resource) on conflict do nothing;
        select audience into v_owner from scope where name = v_scope;
        if v_owner <> p_resource then
            raise exception 'The scope "%" belongs to resource %.', v_scope, v_owner
                using errcode = 'check_violation',
                hint = 'A scope belongs to one resource. Pass that resource, or name the scope differently.';
        end if;
    end loop;
    return p_resource;
end
$$;

comment on function token_service.create_resource(text, text[], text, interval) is
    'Makes a resource, or completes one that is there: adds the scopes it lacks, sets its signing algorithm and the longest its tokens may '
    'live where they are given. A maximum of 0 is none.';

revoke all on function token_service.create_resource(text, text[], text, interval) from public;
grant execute on function token_service.create_resource(text, text[], text, interval) to token_service_admin;


create or replace function token_service.register_resource_server(p_client_id text, p_resource text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_resource(p_resource);
    insert into resource_server (client_id, audience) values (p_client_id, p_resource) on conflict do nothing;
end
$$;

comment on function token_service.register_resource_server(text, text) is
    'Lets a client speak for a resource: it may ask what tokens for that are worth (RFC 7662 §2.1).';

revoke all on function token_service.register_resource_server(text, text) from public;
grant execute on function token_service.register_resource_server(text, text) to token_service_admin;


create or replace function token_service.unregister_resource_server(p_client_id text, p_resource text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_resource(p_resource);
    delete from resource_server where client_id = p_client_id and audience = p_resource;
end
$$;

comment on function token_service.unregister_resource_server(text, text) is
    'Lets a client no longer speak for a resource.';

revoke all on function token_service.unregister_resource_server(text, text) from public;
grant execute on function token_service.unregister_resource_server(text, text) to token_service_admin;


select token_service.attach_triggers('resource', 'client', null, array['audience'], 'DELETE OR UPDATE');
select token_service.attach_triggers('resource_server', 'client', 'client_id', array['client_id', 'audience']);
