-- The rules of administration, as functions, so that a script, a test and a person at psql all go the same way.
-- Every refusal says what to do; none repeats a value that could be a secret pasted by mistake.

create function token_service.add_secret(
    p_client_id  text,
    p_secret_id  text,
    p_digest     text,
    p_label      text        default null,
    p_not_before timestamptz default now(),
    p_expires_at timestamptz default null
) returns text
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    -- Locks the client: two admins adding at once count each other's imported secrets.
    perform from client where id = p_client_id for update;
    if not found then
        raise exception 'There is no client "%".', regexp_replace(p_client_id, '^tsvc_.*', 'tsvc_…')
            using errcode = 'no_data_found', hint = 'Make it with scripts/create-client.sql.';
    end if;

    if token_service.is_argon2id_digest(p_digest) is not true then
        raise exception 'The digest of client "%" is not an Argon2id digest.', p_client_id
            using errcode = 'check_violation',
            hint = 'Make one with "TokenService secret new", or digest a secret you already have with "TokenService secret hash". '
                   'Never store a secret itself: if one was pasted here, treat it as leaked.';
    end if;

    if p_secret_id is null then
        raise exception 'The digest of client "%" comes without its secret_id.', p_client_id
            using errcode = 'null_value_not_allowed',
            hint = 'Pass digest and secret_id together, as "TokenService secret new" or "TokenService secret hash" printed them.';
    end if;

    if p_secret_id !~ '^(imported_)?[0-9A-Za-z]{12}$' then
        raise exception 'The secret_id of client "%" is not one that TokenService made.', p_client_id
            using errcode = 'check_violation',
            hint = 'Pass the secret_id that was printed beside the digest.';
    end if;

    if exists (select from client_secret where id = p_secret_id) then
        raise exception 'The secret_id "%" is in use already.', p_secret_id
            using errcode = 'unique_violation',
            hint = 'Each secret is added once. Make a fresh one with "TokenService secret new".';
    end if;

    -- An imported secret names no row, so a wrong guess costs one hash for each of them.
    if p_secret_id like 'imported\_%' and 4 <= (
        select count(*)
        from client_secret
        where client_id = p_client_id
          and id like 'imported\_%'
          and revoked_at is null
          and (expires_at is null or expires_at > now())
    ) then
        raise exception 'Client "%" already has 4 imported secrets alive.', p_client_id
            using errcode = 'program_limit_exceeded',
            hint = 'Revoke one, or use a secret made by "TokenService secret new", of which there may be any number.';
    end if;

    insert into client_secret (id, client_id, digest, label, not_before, expires_at)
    values (p_secret_id, p_client_id, p_digest, p_label, p_not_before, p_expires_at);

    return p_secret_id;
end
$$;

comment on function token_service.add_secret(text, text, text, text, timestamptz, timestamptz) is
    'Adds a secret to a client by its digest, leaving its other secrets alone. Returns the secret''s id.';


create function token_service.create_client(
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
    v_scope text;
    v_owner text;
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

    if exists (select from client where id = p_client_id) then
        raise exception 'There is already a client "%".', p_client_id
            using errcode = 'unique_violation', hint = 'Choose another client_id.';
    end if;

    if p_name is null or char_length(p_name) not between 1 and 200 then
        raise exception 'The name of client "%" is empty or longer than 200 characters.', p_client_id
            using errcode = 'check_violation', hint = 'Say in a few words what the client is.';
    end if;

    if p_methods is null or cardinality(p_methods) = 0
        or not p_methods <@ array['client_secret_basic', 'client_secret_post'] then
        raise exception 'The authentication methods of client "%" are not ones this server offers.', p_client_id
            using errcode = 'check_violation', hint = 'Use client_secret_basic, client_secret_post or both.';
    end if;

    if p_resource is null or p_resource !~ '^[A-Za-z][A-Za-z0-9+.-]*:[\x21\x24-\x3B\x3D\x3F-\x5B\x5D\x5F\x61-\x7A\x7E]+$'
        or char_length(p_resource) > 256 then
        raise exception 'The resource is not an absolute URI without a fragment.'
            using errcode = 'check_violation', hint = 'Use the identifier of the API, such as https://api.example.com.';
    end if;

    if p_scopes is null or cardinality(p_scopes) = 0 then
        raise exception 'Client "%" would hold no scope, so it could get no token.', p_client_id
            using errcode = 'check_violation', hint = 'Pass at least one scope.';
    end if;

    if not coalesce(p_default_scopes, array[]::text[]) <@ p_scopes then
        raise exception 'A default scope of client "%" is not among its scopes.', p_client_id
            using errcode = 'check_violation', hint = 'Default scopes are those of its scopes granted when a request names none.';
    end if;

    insert into resource (audience) values (p_resource) on conflict do nothing;

    foreach v_scope in array p_scopes loop
        if v_scope is null or v_scope !~ '^[\x21\x23-\x5B\x5D-\x7E]{1,128}$' then
            raise exception 'A scope of client "%" is outside the grammar.', p_client_id
                using errcode = 'check_violation',
                hint = 'A scope is 1 to 128 printable ASCII characters without space, quotation mark and backslash (RFC 6749 §3.3).';
        end if;

        insert into scope (name, audience) values (v_scope, p_resource) on conflict do nothing;
        select audience into v_owner from scope where name = v_scope;
        if v_owner <> p_resource then
            raise exception 'The scope "%" belongs to resource %.', v_scope, v_owner
                using errcode = 'check_violation',
                hint = 'A scope belongs to one resource. Pass that resource, or name the scope differently.';
        end if;
    end loop;

    insert into client (id, name, authentication_methods) values (p_client_id, p_name, p_methods);

    insert into client_scope (client_id, scope, is_default)
    select distinct p_client_id, s, s = any (coalesce(p_default_scopes, array[]::text[]))
    from unnest(p_scopes) as s;

    perform token_service.add_secret(p_client_id, p_secret_id, p_digest);
    return p_client_id;
end
$$;

comment on function token_service.create_client(text, text, text, text[], text, text, text[], text[]) is
    'Makes a client with its first secret and scopes, the resource and scopes too if they are new. Returns its id.';
