-- Clients: making, changing, disabling and deleting them. A call that changes nothing when it is repeated may be
-- repeated. No message repeats a value that could be a secret pasted by mistake.

create or replace function token_service.require_client(p_client_id text, p_lock boolean default true) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    -- When two admins change one client at once, the second waits and sees what the first did. Counting usage need not
    -- wait: the foreign key of credential_use takes a lock that this one lets through.
    if p_lock then
        perform from client where id = p_client_id for no key update;
    else
        perform from client where id = p_client_id;
    end if;
    if not found then
        raise exception 'There is no client "%".', token_service.without_secret(p_client_id)
            using errcode = 'no_data_found',
            hint = 'scripts/list-clients.sql shows those there are, scripts/create-client.sql makes one.';
    end if;
end
$$;

comment on function token_service.require_client(text, boolean) is
    'Refuses a client that does not exist. Locks one that does, unless p_lock is false.';

revoke all on function token_service.require_client(text, boolean) from public;


create or replace function token_service.require_client_id(p_client_id text, p_imported boolean) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if p_client_id like 'tsvc\_%' then
        raise exception 'The client_id looks like a secret.'
            using errcode = 'check_violation',
            hint = 'Choose another client_id. If that was a secret, treat it as leaked.';
    end if;

    if p_imported then
        if token_service.is_client_id(p_client_id) is not true then
            raise exception 'The client_id is outside the grammar.'
                using errcode = 'check_violation',
                hint = 'An id from another server may have 1 to 255 printable ASCII characters without space, '
                       'quotation marks, "`", "\" and "*". Choose another id, and change it in the client.';
        end if;
    elsif token_service.is_simple_client_id(p_client_id) is not true then
        raise exception 'The client_id is outside the grammar.'
            using errcode = 'check_violation',
            hint = 'Use 1 to 128 letters, digits, ".", "_" and "-", beginning with a letter or digit.'
                   || case when token_service.is_client_id(p_client_id)
                       then ' Pass -v imported=on for a client that had this id at another server.' else '' end;
    end if;
end
$$;

comment on function token_service.require_client_id(text, boolean) is
    'Refuses an id that no client can have, and one that a new client may have only if it brings it from another '
    'server.';

revoke all on function token_service.require_client_id(text, boolean) from public;


create or replace function token_service.warn_of_client_id(p_client_id text, p_methods text[]) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if p_client_id ~ '[:%+]' and 'client_secret_basic' = any (p_methods) then
        raise warning 'Some clients send the id "%" wrongly in HTTP Basic.', p_client_id
            using hint = format(
                'It is sent there as %s. curl -u, Apache HttpClient, requests-oauthlib, Authlib, ruby-oauth2, '
                'axios and librdkafka do not encode it: set the encoded id in them, or let them use client_secret_post.',
                replace(replace(replace(p_client_id, '%', '%25'), ':', '%3A'), '+', '%2B'));
    end if;
end
$$;

comment on function token_service.warn_of_client_id(text, text[]) is
    'Warns of an id that means something else in HTTP Basic unless the client form-encodes it (RFC 6749 §2.3.1).';

revoke all on function token_service.warn_of_client_id(text, text[]) from public;


create or replace function token_service.require_client_properties(p_client_id text, p_name text, p_methods text[])
    returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if not token_service.is_short_text(p_name) then
        raise exception 'The name of client "%" is empty or longer than 200 characters.', p_client_id
            using errcode = 'check_violation', hint = 'Say in a few words what the client is.';
    end if;

    if not token_service.are_authentication_methods(p_methods) then
        raise exception 'The authentication methods of client "%" are not ones this server offers.', p_client_id
            using errcode = 'check_violation', hint = 'Use client_secret_basic, client_secret_post, private_key_jwt, or several of them.';
    end if;
end
$$;

comment on function token_service.require_client_properties(text, text, text[]) is
    'Refuses a name or authentication methods that no client can have. Null is not refused.';

revoke all on function token_service.require_client_properties(text, text, text[]) from public;


create or replace function token_service.require_token_lifetime(
    p_of       text,
    p_lifetime interval,
    p_example  text,
    p_zero     text
) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    -- As seconds: '1 year -360 days' compares as equal to 0, and is five days long.
    if extract(epoch from p_lifetime) <> 0
        and not token_service.is_token_lifetime(extract(epoch from p_lifetime)::numeric) then
        raise exception '% is not 1 minute to 1 day in whole seconds.', p_of
            using errcode = 'check_violation',
            hint = format('Say something like ''%s''; ''0'' is %s.', p_example, p_zero);
    end if;
end
$$;

comment on function token_service.require_token_lifetime(text, interval, text, text) is
    'Refuses a lifetime that no token can have. Null and zero are not refused; p_zero says in the hint what zero '
    'means.';

revoke all on function token_service.require_token_lifetime(text, interval, text, text) from public;


create or replace function token_service.create_client(
    p_client_id      text,
    p_name           text,
    p_resource       text    default null,
    p_scopes         text[]  default array[]::text[],
    p_default_scopes text[]  default array[]::text[],
    p_methods        text[]  default array['client_secret_basic'],
    p_imported       boolean default false,
    p_enabled        boolean default true
) returns text
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_scopes   text[] := coalesce(p_scopes, array[]::text[]);
    v_defaults text[] := coalesce(p_default_scopes, array[]::text[]);
begin
    perform token_service.require_client_id(p_client_id, coalesce(p_imported, false));
    perform token_service.require_client_properties(
        p_client_id, coalesce(p_name, ''), coalesce(p_methods, array[]::text[]));

    if v_scopes = array[]::text[] and p_resource is not null then
        raise exception 'Client "%" would hold no scope, so it could get no token.', p_client_id
            using errcode = 'check_violation',
            hint = 'Pass at least one scope, or no resource either, for a client that only speaks for an API.';
    end if;

    if not v_defaults <@ v_scopes then
        raise exception 'A default scope of client "%" is not among its scopes.', p_client_id
            using errcode = 'check_violation',
            hint = 'Default scopes are those of its scopes granted when a request names none.';
    end if;

    -- Before the client, in the order of the locks that both take.
    if v_scopes <> array[]::text[] then
        perform token_service.create_resource(p_resource, v_scopes);
    end if;

    -- A client that is disabled later takes a line in the list of revoked tokens. One that is made disabled does not.
    insert into client (id, name, enabled, authentication_methods)
    values (p_client_id, p_name, coalesce(p_enabled, true), p_methods)
    on conflict do nothing;
    if not found then
        raise exception 'There is already a client "%".', p_client_id
            using errcode = 'unique_violation', hint = 'Choose another client_id.';
    end if;

    -- After the client: the insertion waits for a transaction that makes a resource of this name (create_resource).
    if exists (select from resource where id = p_client_id) then
        raise exception 'There is already a resource "%".', p_client_id
            using errcode = 'unique_violation',
            hint = 'The aud of tokens for a resource is its id, and the aud of answers to introspection is the '
                   'client_id. Choose another client_id, so that no API takes the one for the other.';
    end if;

    insert into client_scope (client_id, resource, scope, is_default)
    select distinct p_client_id, p_resource, s, s = any (v_defaults)
    from unnest(v_scopes) as s;

    perform token_service.warn_of_client_id(p_client_id, p_methods);
    return p_client_id;
end
$$;

comment on function token_service.create_client(text, text, text, text[], text[], text[], boolean, boolean) is
    'Makes a client, and the resource and scopes it asks for where they are missing. Without a resource and scopes it '
    'can get no token, and only speaks for an API. It needs a credential next: a secret by add_secret or a key by add_key. '
    'p_imported allows an id of another server, which has more characters. Returns its client_id.';

revoke all on function token_service.create_client(text, text, text, text[], text[], text[], boolean, boolean)
    from public;
grant execute on function token_service.create_client(text, text, text, text[], text[], text[], boolean, boolean)
    to token_service_admin;


create or replace function token_service.update_client(
    p_client_id         text,
    p_name              text     default null,
    p_token_lifetime    interval default null,
    p_methods           text[]   default null,
    p_extra_claims      jsonb    default null,
    p_tokens_per_minute integer  default null
) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_seconds integer;
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_client_properties(p_client_id, p_name, p_methods);
    perform token_service.require_token_lifetime(
        format('The token lifetime of client "%s"', p_client_id), p_token_lifetime,
        p_example => '10 minutes', p_zero => 'the server''s default');
    v_seconds := nullif(extract(epoch from p_token_lifetime), 0);

    if p_tokens_per_minute <> 0 and not token_service.is_tokens_per_minute(p_tokens_per_minute) then
        raise exception 'The tokens per minute of client "%" are not 1 to 1000000.', p_client_id
            using errcode = 'check_violation', hint = 'Each replica counts for itself; 0 means no limit.';
    end if;

    if not token_service.is_small_object(p_extra_claims) then
        raise exception 'The extra claims of client "%" are not a JSON object of at most 1024 bytes.', p_client_id
            using errcode = 'check_violation',
            hint = 'Say something like ''{"tenant": "north"}''; ''{}'' removes them.';
    end if;

    if not token_service.is_shallow(p_extra_claims) then
        raise exception 'The extra claims of client "%" are nested more than 16 levels deep.', p_client_id
            using errcode = 'check_violation',
            hint = 'Put fewer objects and lists inside one another: some readers of tokens give up at this depth.';
    end if;

    if token_service.reserved_among(p_extra_claims) is not null then
        raise exception 'The extra claims of client "%" include a reserved one: %.', p_client_id,
                token_service.reserved_among(p_extra_claims)
            using errcode = 'check_violation',
            hint = 'The server sets it, or APIs read from it who a person is. Choose another name, such as a URI of '
                   'your own.';
    end if;

    update client
    set name                   = coalesce(p_name, name),
        token_lifetime_seconds = case when p_token_lifetime is null then token_lifetime_seconds else v_seconds end,
        authentication_methods = coalesce(p_methods, authentication_methods),
        extra_claims           = coalesce(p_extra_claims, extra_claims),
        tokens_per_minute      =
            case when p_tokens_per_minute is null then tokens_per_minute else nullif(p_tokens_per_minute, 0) end
    where id = p_client_id;
end
$$;

comment on function token_service.update_client(text, text, interval, text[], jsonb, integer) is
    'Changes the properties that are not null. A lifetime of 0 means the server''s default, 0 tokens per minute mean '
    'any number.';

revoke all on function token_service.update_client(text, text, interval, text[], jsonb, integer) from public;
grant execute on function token_service.update_client(text, text, interval, text[], jsonb, integer)
    to token_service_admin;


create or replace function token_service.set_client_enabled(p_client_id text, p_enabled boolean) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
begin
    perform token_service.require_client(p_client_id);
    if p_enabled is null then
        raise exception 'The argument p_enabled of client "%" is missing.', p_client_id
            using errcode = 'null_value_not_allowed', hint = 'Say true or false.';
    end if;
    update client set enabled = p_enabled where id = p_client_id and enabled <> p_enabled;
end
$$;

comment on function token_service.set_client_enabled(text, boolean) is
    'Disables a client: it is refused like an unknown one, and its tokens are dead. Or enables it again: tokens that '
    'were issued before it was disabled stay dead, and for 10 seconds after it was disabled it gets no token.';

revoke all on function token_service.set_client_enabled(text, boolean) from public;
grant execute on function token_service.set_client_enabled(text, boolean) to token_service_admin;


create or replace function token_service.delete_client(p_client_id text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
begin
    perform token_service.require_client(p_client_id);
    if (select enabled from client where id = p_client_id) then
        raise exception 'Client "%" is enabled.', p_client_id
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'Disable it with scripts/disable-client.sql, and delete it when nobody has missed it.';
    end if;

    -- A replica that writes its counts locks these rows in this order. In another order the two could wait for each
    -- other.
    perform from credential_use where client_id = p_client_id order by kind, credential_id for update;
    delete from credential_use where client_id = p_client_id;
    perform from scope_use where client_id = p_client_id order by resource, scope for update;
    delete from scope_use where client_id = p_client_id;

    delete from client where id = p_client_id;
end
$$;

comment on function token_service.delete_client(text) is
    'Deletes a disabled client with its secrets, keys and grants. The audit log keeps what they were.';

revoke all on function token_service.delete_client(text) from public;
grant execute on function token_service.delete_client(text) to token_service_admin;


select token_service.attach_triggers('client', 'client', 'id', array['id']);
