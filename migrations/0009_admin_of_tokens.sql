-- What admins do about tokens: say how long those for a resource may live, which client speaks for a resource, and end those of a client.
-- A client may be made without scopes, to speak for an API and nothing else. Claims nested too deep are refused. p_now is there for tests.

create function token_service.require_resource(p_resource text) returns void
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

comment on function token_service.require_resource(text) is 'Refuses a resource that is not there.';


drop function token_service.create_resource(text, text[], text);

create function token_service.create_resource(
    p_resource               text,
    p_scopes                 text[]   default array[]::text[],
    p_signing_alg            text     default null,
    p_maximum_token_lifetime interval default null
) returns text
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_seconds numeric := extract(epoch from p_maximum_token_lifetime);
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
        maximum_token_lifetime_seconds =
            case when p_maximum_token_lifetime is null then maximum_token_lifetime_seconds else nullif(v_seconds, 0)::integer end
    where audience = p_resource
      and (p_signing_alg is not null or p_maximum_token_lifetime is not null);

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


create or replace function token_service.create_client(
    p_client_id      text,
    p_name           text,
    p_resource       text,
    p_scopes         text[],
    p_secret_id      text,
    p_digest         text,
    p_default_scopes text[] default array[]::text[],
    p_methods        text[] default array['client_secret_basic']
) returns text
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_scopes   text[] := coalesce(p_scopes, array[]::text[]);
    v_defaults text[] := coalesce(p_default_scopes, array[]::text[]);
begin
    if p_client_id like 'tsvc\_%' then
        raise exception 'The client_id looks like a secret.'
            using errcode = 'check_violation',
            hint = 'Choose another client_id. If that was a secret, treat it as leaked.';
    end if;

    if p_client_id is null or p_client_id !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' then
        raise exception 'The client_id is outside the grammar.'
            using errcode = 'check_violation',
            hint = 'Use 1 to 128 letters, digits, ".", "_" and "-", beginning with a letter or digit.';
    end if;

    perform token_service.require_client_properties(p_client_id, coalesce(p_name, ''), coalesce(p_methods, array[]::text[]));

    if v_scopes = array[]::text[] and p_resource is not null then
        raise exception 'Client "%" would hold no scope, so it could get no token.', p_client_id
            using errcode = 'check_violation',
            hint = 'Pass at least one scope, or no resource either, for a client that only speaks for an API.';
    end if;

    if not v_defaults <@ v_scopes then
        raise exception 'A default scope of client "%" is not among its scopes.', p_client_id
            using errcode = 'check_violation', hint = 'Default scopes are those of its scopes granted when a request names none.';
    end if;

    insert into client (id, name, authentication_methods) values (p_client_id, p_name, p_methods) on conflict do nothing;
    if not found then
        raise exception 'There is already a client "%".', p_client_id
            using errcode = 'unique_violation', hint = 'Choose another client_id.';
    end if;

    if v_scopes <> array[]::text[] then
        perform token_service.create_resource(p_resource, v_scopes);
        insert into client_scope (client_id, scope, is_default)
        select distinct p_client_id, s, s = any (v_defaults)
        from unnest(v_scopes) as s;
    end if;
    perform token_service.add_secret(p_client_id, p_secret_id, p_digest);
    return p_client_id;
end
$$;

comment on function token_service.create_client(text, text, text, text[], text, text, text[], text[]) is
    'Makes a client with its first secret, and the resource and scopes it asks for where they are missing; or, where neither is given, '
    'one that can get no token and only speaks for an API. Returns its client_id.';


create or replace function token_service.update_client(
    p_client_id         text,
    p_name              text     default null,
    p_token_lifetime    interval default null,
    p_methods           text[]   default null,
    p_extra_claims      jsonb    default null,
    p_tokens_per_minute integer  default null
) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_seconds numeric := extract(epoch from p_token_lifetime);
begin
    perform token_service.require_client(p_client_id);

    perform token_service.require_client_properties(p_client_id, p_name, p_methods);

    if v_seconds <> 0 and (v_seconds not between 60 and 86400 or v_seconds <> trunc(v_seconds)) then
        raise exception 'The token lifetime of client "%" is not 1 minute to 1 day in whole seconds.', p_client_id
            using errcode = 'check_violation', hint = 'Say something like ''10 minutes''; ''0'' is the server''s default.';
    end if;

    if p_tokens_per_minute not between 0 and 1000000 then
        raise exception 'The tokens per minute of client "%" are not 1 to 1000000.', p_client_id
            using errcode = 'check_violation', hint = 'Each replica counts for itself; 0 is no ceiling.';
    end if;

    if jsonb_typeof(p_extra_claims) <> 'object' or octet_length(p_extra_claims::text) > 1024 then
        raise exception 'The extra claims of client "%" are not a JSON object of at most 1024 bytes.', p_client_id
            using errcode = 'check_violation', hint = 'Say something like ''{"tenant": "north"}''; ''{}'' removes them.';
    end if;

    if p_extra_claims @? 'strict $.**{17 to last}' then
        raise exception 'The extra claims of client "%" are nested more than 16 levels deep.', p_client_id
            using errcode = 'check_violation', hint = 'Put fewer objects and lists inside one another: not every reader of tokens follows.';
    end if;

    if token_service.reserved_among(p_extra_claims) is not null then
        raise exception 'The extra claims of client "%" include a reserved one: %.', p_client_id,
                token_service.reserved_among(p_extra_claims)
            using errcode = 'check_violation',
            hint = 'The server sets it, or APIs read from it who a person is. Choose another name, such as a URI of your own.';
    end if;

    update client
    set name                   = coalesce(p_name, name),
        token_lifetime_seconds = case when p_token_lifetime is null then token_lifetime_seconds else nullif(v_seconds, 0)::integer end,
        authentication_methods = coalesce(p_methods, authentication_methods),
        extra_claims           = coalesce(p_extra_claims, extra_claims),
        tokens_per_minute      = case when p_tokens_per_minute is null then tokens_per_minute else nullif(p_tokens_per_minute, 0) end
    where id = p_client_id;
end
$$;


create function token_service.register_resource_server(p_client_id text, p_resource text) returns void
    language plpgsql
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


create function token_service.unregister_resource_server(p_client_id text, p_resource text) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_resource(p_resource);
    delete from resource_server where client_id = p_client_id and audience = p_resource;
end
$$;

comment on function token_service.unregister_resource_server(text, text) is 'Lets a client no longer speak for a resource.';


create function token_service.revoke_client_tokens(p_client_id text) returns timestamptz
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    -- A client that was deleted lately is known by the end its tokens had then.
    if not exists (select from tokens_not_before where client_id = p_client_id) then
        perform token_service.require_client(p_client_id, p_lock => false);
    end if;
    -- Not when the transaction began: what was issued since is to be dead too.
    perform token_service.end_tokens_of(p_client_id, clock_timestamp());
    return (select not_before from tokens_not_before where client_id = p_client_id);
end
$$;

comment on function token_service.revoke_client_tokens(text) is
    'Makes every token that a client got until now dead, and returns up to when. The client may get new ones. Works for a disabled client, '
    'and for one that was deleted within the last day.';

comment on function token_service.set_client_enabled(text, boolean) is
    'Disables a client, so that it is refused like an unknown one and its tokens are dead, or enables it again, which brings no token '
    'back: those of the 10 seconds after it was disabled are dead too, so it gets none in these.';


-- Another type of result.
drop function token_service.clients_report(text, timestamptz);

create function token_service.clients_report(p_client_id text default null, p_now timestamptz default now())
    returns table (
        client_id         text,
        name              text,
        enabled           boolean,
        methods           text,
        token_lifetime    interval,
        tokens_per_minute integer,
        extra_claims      jsonb,
        live_secrets      bigint,
        scopes            text,
        default_scopes    text,
        speaks_for        text,
        last_used_at      timestamptz,
        made_at           timestamptz
    )
    language plpgsql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
#variable_conflict use_column
begin
    if p_client_id is not null then
        perform token_service.require_client(p_client_id, p_lock => false);
    end if;
    return query
    select c.id,
           c.name,
           c.enabled,
           array_to_string(c.authentication_methods, ' '),
           make_interval(secs => c.token_lifetime_seconds),
           c.tokens_per_minute,
           c.extra_claims,
           s.live,
           cs.scopes,
           cs.defaults,
           rs.audiences,
           s.last_used_at,
           c.created_at
    from client c
    cross join lateral (
        select count(*) filter (
                   where s.not_before <= p_now
                     and (least(s.revoked_at, token_service.secret_ends_at(s.created_at, s.expires_at)) > p_now) is not false) as live,
               max(u.last_used_at) as last_used_at
        from client_secret s
        left join secret_use u on u.secret_id = s.id
        where s.client_id = c.id
    ) s
    cross join lateral (
        select string_agg(scope, ' ' order by scope) as scopes,
               string_agg(scope, ' ' order by scope) filter (where is_default) as defaults
        from client_scope
        where client_scope.client_id = c.id
    ) cs
    cross join lateral (
        select string_agg(audience, ' ' order by audience) as audiences
        from resource_server
        where resource_server.client_id = c.id
    ) rs
    where p_client_id is null
       or c.id = p_client_id
    order by c.id;
end
$$;

comment on function token_service.clients_report(text, timestamptz) is 'Every client, or one, with what it has.';


revoke execute on all functions in schema token_service from public;

do $$
declare
    v_function regprocedure;
begin
    -- As in 0007; a function that is replaced loses its owner's rights too.
    foreach v_function in array array[
        'token_service.create_resource(text, text[], text, interval)',
        'token_service.create_client(text, text, text, text[], text, text, text[], text[])',
        'token_service.update_client(text, text, interval, text[], jsonb, integer)',
        'token_service.register_resource_server(text, text)',
        'token_service.unregister_resource_server(text, text)',
        'token_service.revoke_client_tokens(text)',
        'token_service.clients_report(text, timestamptz)'
    ]::regprocedure[] loop
        execute format('alter function %s security definer', v_function);
        execute format('grant execute on function %s to token_service_admin', v_function);
    end loop;
end
$$;
