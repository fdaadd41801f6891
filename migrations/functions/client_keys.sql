-- Keys of clients: adding, rotating and revoking them; and to what tokens must be bound. A call that changes nothing when
-- it is repeated may be repeated. No message repeats a value that could be a private key or a secret pasted by mistake.

create or replace function token_service.read_jwk(p_text text) returns jsonb
    language plpgsql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    return p_text::jsonb;
exception
    -- PostgreSQL's own message would show the text.
    when data_exception then
        raise exception 'The public_jwk is not JSON.'
            using errcode = 'check_violation',
            hint = case
                when token_service.looks_private(p_text)
                    then 'It looks like a private key, which is leaked now. Make a new key with "TokenService client-key new", '
                         'and pass its public half only.'
                else 'Pass the public half as a JWK, one JSON object, as "TokenService client-key new" prints it.'
            end;
end
$$;

comment on function token_service.read_jwk(text) is
    'The text as JSON. Refuses a text that is not JSON without showing it.';

revoke all on function token_service.read_jwk(text) from public;
grant execute on function token_service.read_jwk(text) to token_service_admin;


create or replace function token_service.jwk_algorithm(p_jwk jsonb, p_alg text default null) returns text
    language sql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    -- EdDSA is the older name, which leaves the curve open (RFC 9864 §2.2).
    select case coalesce(p_alg, p_jwk ->> 'alg')
        when 'EdDSA' then case p_jwk ->> 'crv' when 'Ed25519' then 'Ed25519' else 'EdDSA' end
        else coalesce(
            p_alg,
            p_jwk ->> 'alg',
            case
                when p_jwk ->> 'kty' = 'EC' and p_jwk ->> 'crv' = 'P-256' then 'ES256'
                when p_jwk ->> 'kty' = 'EC' and p_jwk ->> 'crv' = 'P-384' then 'ES384'
                when p_jwk ->> 'kty' = 'OKP' and p_jwk ->> 'crv' = 'Ed25519' then 'Ed25519'
            end)
    end
$$;

comment on function token_service.jwk_algorithm(jsonb, text) is
    'The algorithm of a JWK: the one given, else its own, else the one of its curve. Null: an RSA key that does not say.';

revoke all on function token_service.jwk_algorithm(jsonb, text) from public;


create or replace function token_service.public_members(p_jwk jsonb) returns jsonb
    language sql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select jsonb_object_agg(name, p_jwk ->> name)
    from unnest(case p_jwk ->> 'kty'
        when 'EC' then array['kty', 'crv', 'x', 'y']
        when 'OKP' then array['kty', 'crv', 'x']
        when 'RSA' then array['kty', 'n', 'e']
    end) as name
$$;

comment on function token_service.public_members(jsonb) is
    'The members of a JWK that are its public key (RFC 7638 §3.2), and no others. Null: its kty is unknown.';

revoke all on function token_service.public_members(jsonb) from public;


create or replace function token_service.require_public_jwk(p_client_id text, p_jwk jsonb, p_alg text) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_alg text := token_service.jwk_algorithm(p_jwk, p_alg);
begin
    -- The first check, because what follows is not worth knowing about a key that is leaked. It finds the members of a
    -- key inside a set or a string, too.
    if token_service.looks_private(p_jwk::text) then
        raise exception 'The JWK for client "%" has a private member, so this key is leaked now.', p_client_id
            using errcode = 'check_violation',
            hint = 'Do not use it anywhere. Make a new key with "TokenService client-key new", and pass its public half only.';
    end if;

    if jsonb_typeof(p_jwk) is distinct from 'object' or p_jwk ? 'keys' then
        raise exception 'The key for client "%" is not one JWK.', p_client_id
            using errcode = 'check_violation',
            hint = case when p_jwk ? 'keys' then 'It is a set of keys. Pass one of them at a time.'
                else 'Pass the public half as one JSON object, as "TokenService client-key new" prints it.' end;
    end if;

    if coalesce(p_jwk -> 'use', '"sig"') <> '"sig"' or (p_jwk ? 'key_ops' and not p_jwk -> 'key_ops' ? 'verify') then
        raise exception 'The JWK for client "%" is not for verifying signatures.', p_client_id
            using errcode = 'check_violation',
            hint = 'Its use must be "sig", and its key_ops must have "verify"; a JWK may lack both.';
    end if;

    if p_jwk ? 'alg' and token_service.jwk_algorithm(p_jwk) <> v_alg then
        raise exception 'The alg in the JWK for client "%" is another one than the alg that was passed.', p_client_id
            using errcode = 'check_violation',
            hint = 'Leave alg out, or pass the one with which the client signs its assertions, and correct the JWK.';
    end if;

    if v_alg is null and p_jwk ->> 'kty' = 'RSA' then
        raise exception 'The RSA key for client "%" comes without its algorithm.', p_client_id
            using errcode = 'null_value_not_allowed',
            hint = 'Pass alg: PS256, or RS256 for a client that cannot sign with PS256.';
    end if;

    if token_service.is_assertion_algorithm(v_alg) is not true then
        raise exception 'The key for client "%" is not of an algorithm that this server verifies.', p_client_id
            using errcode = 'check_violation', hint = 'Use ES256, ES384, PS256, RS256 or Ed25519.';
    end if;

    if token_service.is_public_jwk(token_service.public_members(p_jwk), v_alg) is not true then
        raise exception 'The key for client "%" does not fit %.', p_client_id, v_alg
            using errcode = 'check_violation',
            hint = 'ES256 has the curve P-256, ES384 P-384, Ed25519 Ed25519; PS256 and RS256 have an RSA key of 2048 to 4096 '
                   'bits. Numbers are base64url without padding, coordinates at full length.';
    end if;
end
$$;

comment on function token_service.require_public_jwk(text, jsonb, text) is
    'Refuses a JWK that no client can have: with a private member, of another kind, or of another algorithm.';

revoke all on function token_service.require_public_jwk(text, jsonb, text) from public;


create or replace function token_service.require_new_kid(p_client_id text, p_jwk jsonb, p_kid text) returns void
    language plpgsql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_known text;
begin
    if p_kid <> p_jwk ->> 'kid' then
        raise exception 'The kid in the JWK for client "%" is another one than the kid that was passed.', p_client_id
            using errcode = 'check_violation',
            hint = 'Leave kid out, or pass the one that the client puts into the header of its assertions, and correct the JWK.';
    end if;

    if token_service.is_client_kid(coalesce(p_kid, p_jwk ->> 'kid')) is false then
        raise exception 'The kid of the key for client "%" is outside the grammar.', p_client_id
            using errcode = 'check_violation',
            hint = 'It has 1 to 128 printable ASCII characters without space, quotation marks, "`" and "\", and does not '
                   'begin with tsvc_. Leave it out for the thumbprint of the key.';
    end if;

    if exists (select from client_key where client_id = p_client_id and kid = coalesce(p_kid, p_jwk ->> 'kid')) then
        raise exception 'Client "%" already has a key with this kid.', p_client_id
            using errcode = 'unique_violation',
            hint = 'Choose another kid, or leave it out for the thumbprint of the key. The kid of a revoked key stays taken.';
    end if;

    select kid into v_known
    from client_key
    where client_id = p_client_id
      and thumbprint = token_service.jwk_thumbprint(token_service.public_members(p_jwk));
    if found then
        raise exception 'Client "%" already has this key: its kid is "%".', p_client_id, v_known
            using errcode = 'unique_violation',
            hint = 'Make a new one with "TokenService client-key new". A revoked key cannot be added again.';
    end if;
end
$$;

comment on function token_service.require_new_kid(text, jsonb, text) is
    'Refuses a kid that is malformed, taken, or another one than that in the JWK, and a key that the client has already.';

revoke all on function token_service.require_new_kid(text, jsonb, text) from public;


create or replace function token_service.add_key(
    p_client_id  text,
    p_public_jwk jsonb,
    p_kid        text        default null,
    p_alg        text        default null,
    p_label      text        default null,
    p_not_before timestamptz default now(),
    p_expires_at timestamptz default null
) returns text
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_not_before timestamptz := coalesce(p_not_before, now());
    v_jwk        jsonb;
    v_kid        text;
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_public_jwk(p_client_id, p_public_jwk, p_alg);
    perform token_service.require_new_kid(p_client_id, p_public_jwk, p_kid);

    if token_service.looks_private(p_label) then
        raise exception 'The label of the key is a private key, which is leaked now.'
            using errcode = 'check_violation',
            hint = 'Do not use it anywhere. Make a new key with "TokenService client-key new".';
    end if;

    if not token_service.is_short_text(p_label) then
        raise exception 'The label of the key is empty or longer than 200 characters.'
            using errcode = 'check_violation',
            hint = 'Say in a few words where the key is kept, or leave the label out.';
    end if;

    perform token_service.require_dates(v_not_before, p_expires_at);

    if p_expires_at <= greatest(v_not_before, now()) then
        raise exception 'The key would expire before it could be used.'
            using errcode = 'check_violation',
            hint = 'Choose an expires_at after now and after not_before, or leave it out.';
    end if;

    if 16 <= (
        select count(*)
        from client_key
        where client_id = p_client_id
          and revoked_at is null
          and (expires_at is null or expires_at > now())
    ) then
        raise exception 'Client "%" already has 16 keys alive.', p_client_id
            using errcode = 'program_limit_exceeded',
            hint = 'Revoke one with scripts/revoke-key.sql: scripts/credentials-report.sql shows which are not used.';
    end if;

    -- Only the key itself is kept of the JWK.
    v_jwk := token_service.public_members(p_public_jwk);
    v_kid := coalesce(
        p_kid,
        p_public_jwk ->> 'kid',
        rtrim(translate(encode(token_service.jwk_thumbprint(v_jwk), 'base64'), '+/', '-_'), '='));

    -- now() is the instant at which the transaction began. With clock_timestamp(), a client's keys have the order in which
    -- admins got its lock.
    insert into client_key (client_id, kid, alg, public_jwk, label, not_before, expires_at, created_at)
    values (p_client_id, v_kid, token_service.jwk_algorithm(p_public_jwk, p_alg), v_jwk, p_label, v_not_before, p_expires_at,
        clock_timestamp());

    if exists (
        select from client_key
        where thumbprint = token_service.jwk_thumbprint(v_jwk)
          and client_id <> p_client_id
    ) then
        raise warning 'Another client has the same key as client "%".', p_client_id
            using hint = 'The holder of its private half can authenticate as both. Give each client a key of its own.';
    end if;

    if not exists (select from client where id = p_client_id and 'private_key_jwt' = any (authentication_methods)) then
        raise warning 'Client "%" may not authenticate with a key yet.', p_client_id
            using hint = format(
                'Allow it with scripts/update-client.sql: -v methods=''%s private_key_jwt'', or private_key_jwt alone once '
                'nothing uses its secrets.',
                (select array_to_string(authentication_methods, ' ') from client where id = p_client_id));
    end if;
    return v_kid;
end
$$;

comment on function token_service.add_key(text, jsonb, text, text, text, timestamptz, timestamptz) is
    'Adds a public key to a client, and leaves its other keys alone. The kid is the one given, else that in the JWK, else '
    'the thumbprint; the algorithm is the one given, else that in the JWK, else that of the curve. Returns the kid.';

revoke all on function token_service.add_key(text, jsonb, text, text, text, timestamptz, timestamptz) from public;
grant execute on function token_service.add_key(text, jsonb, text, text, text, timestamptz, timestamptz)
    to token_service_admin;


create or replace function token_service.newest_kid(p_client_id text) returns text
    language sql stable security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select kid
    from client_key
    where client_id = p_client_id
      and revoked_at is null
    order by created_at desc, kid
    limit 1
$$;

comment on function token_service.newest_kid(text) is
    'The kid of the client''s newest key that is not revoked. Null: it has none.';

revoke all on function token_service.newest_kid(text) from public;
grant execute on function token_service.newest_kid(text) to token_service_admin;


create or replace function token_service.rotate_key(
    p_client_id  text,
    p_public_jwk jsonb,
    p_kid        text        default null,
    p_alg        text        default null,
    p_overlap    interval    default '24 hours',
    p_label      text        default null,
    p_not_before timestamptz default null,
    p_expires_at timestamptz default null,
    p_newest_kid text        default null
) returns timestamptz
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_now     timestamptz := token_service.instant();
    v_old_end timestamptz;
begin
    perform token_service.require_client(p_client_id);
    perform token_service.require_overlap(p_overlap, 'keys');

    if p_newest_kid <> coalesce(token_service.newest_kid(p_client_id), '') then
        raise exception 'Somebody else has just changed the keys of client "%".', p_client_id
            using errcode = 'serialization_failure',
            hint = 'Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end '
                   'their new key too.';
    end if;

    perform token_service.require_dates(p_not_before, p_expires_at);

    -- The old keys live until the new one begins, and then for the overlap.
    v_old_end := greatest(p_not_before, v_now) + p_overlap;
    perform token_service.require_dates(v_old_end, null);

    update client_key
    set expires_at = case when not_before < v_old_end then v_old_end else expires_at end,
        -- A key that would begin only after that instant is revoked.
        revoked_at = case when not_before < v_old_end then revoked_at else v_now end
    where client_id = p_client_id
      and revoked_at is null
      and (expires_at is null or expires_at > v_old_end);

    perform token_service.add_key(p_client_id, p_public_jwk, p_kid, p_alg, p_label, p_not_before, p_expires_at);
    return v_old_end;
end
$$;

comment on function
    token_service.rotate_key(text, jsonb, text, text, interval, text, timestamptz, timestamptz, text) is
    'Adds a key and ends the client''s other keys after the overlap. Returns when they end. Refuses if p_newest_kid is '
    'given and is not the newest: another admin has changed the keys. Secrets stay as they are.';

revoke all on function
    token_service.rotate_key(text, jsonb, text, text, interval, text, timestamptz, timestamptz, text)
    from public;
grant execute on function
    token_service.rotate_key(text, jsonb, text, text, interval, text, timestamptz, timestamptz, text)
    to token_service_admin;


create or replace function token_service.has_live_key(p_client_id text, p_now timestamptz) returns boolean
    language sql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select exists (
        select from client_key
        where client_id = p_client_id
          and not_before <= p_now
          and (least(revoked_at, expires_at) > p_now) is not false
    )
$$;

comment on function token_service.has_live_key(text, timestamptz) is
    'True if the client has a key that has begun and has not ended.';

revoke all on function token_service.has_live_key(text, timestamptz) from public;


create or replace function token_service.revoke_key(p_client_id text, p_kid text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_now timestamptz := token_service.instant();
    v_use credential_use;
begin
    perform token_service.require_client(p_client_id);

    perform from client_key where client_id = p_client_id and kid = p_kid;
    if not found then
        raise exception 'Client "%" has no such key.', p_client_id
            using errcode = 'no_data_found', hint = 'scripts/show-client.sql shows the kids of its keys.';
    end if;

    update client_key
    set revoked_at = v_now
    where client_id = p_client_id
      and kid = p_kid
      and (revoked_at is null or revoked_at > v_now);
    if not found then
        return;
    end if;

    select * into v_use
    from credential_use
    where kind = 'key'
      and credential_id = format('%s %s', p_client_id, p_kid)
      and last_used_at > v_now - interval '7 days';
    if found then
        raise warning 'The key was still used, last at % from %.',
                v_use.last_used_at, coalesce(host(v_use.last_used_from), 'unknown')
            using hint = 'The client needs another key there now.';
    end if;

    if not token_service.has_live_key(p_client_id, v_now) then
        raise warning 'Client "%" has no live key left.', p_client_id
            using hint = 'Unless it has a secret it can get no token. Give it a key with scripts/add-key.sql, or disable it '
                         'with scripts/disable-client.sql.';
    end if;
end
$$;

comment on function token_service.revoke_key(text, text) is
    'Ends a key at once. Warns if it was still used, or if the client has no other.';

revoke all on function token_service.revoke_key(text, text) from public;
grant execute on function token_service.revoke_key(text, text) to token_service_admin;


create or replace function token_service.require_sender_constraint(
    p_client_id  text,
    p_resource   text,
    p_constraint text
) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_constraint text := nullif(p_constraint, 'none');
begin
    if (p_client_id is null) = (p_resource is null) then
        raise exception 'A client and a resource were passed, or neither.'
            using errcode = 'check_violation',
            hint = 'Pass client_id for all tokens of a client, or resource for all tokens of an API.';
    end if;

    if p_constraint is null or not token_service.is_sender_constraint(v_constraint) then
        raise exception 'The sender constraint is not one that this server has.'
            using errcode = 'check_violation', hint = 'Say dpop, or none to remove it.';
    end if;

    if p_client_id is not null then
        perform token_service.require_client(p_client_id);
        update client set sender_constraint = v_constraint
        where id = p_client_id and sender_constraint is distinct from v_constraint;
    else
        perform token_service.require_resource(p_resource);
        update resource set sender_constraint = v_constraint
        where id = p_resource and sender_constraint is distinct from v_constraint;
    end if;
end
$$;

comment on function token_service.require_sender_constraint(text, text, text) is
    'Requires that the tokens of a client, or the tokens for a resource, are bound to a key of the caller: dpop; or none. '
    'A request for a token without a proof is refused from then on. Tokens that were issued stay as they are.';

revoke all on function token_service.require_sender_constraint(text, text, text) from public;
grant execute on function token_service.require_sender_constraint(text, text, text) to token_service_admin;


create or replace function token_service.allow_token_endpoint_audience(p_client_id text, p_until timestamptz)
    returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_now timestamptz := token_service.instant();
begin
    perform token_service.require_client(p_client_id);

    if p_until <= v_now then
        raise exception 'The date is not in the future.'
            using errcode = 'check_violation', hint = 'Say none to end the permission now.';
    end if;

    if p_until > v_now + interval '180 days' then
        raise exception 'The date is more than 180 days ahead.'
            using errcode = 'check_violation',
            hint = 'Choose the day by which the client will send the issuer as aud. You may move it later.';
    end if;

    update client set token_endpoint_audience_until = p_until
    where id = p_client_id and token_endpoint_audience_until is distinct from p_until;
end
$$;

comment on function token_service.allow_token_endpoint_audience(text, timestamptz) is
    'Until a date, at most 180 days ahead, a client''s assertions may have the address of the token endpoint as aud. Null '
    'ends it.';

revoke all on function token_service.allow_token_endpoint_audience(text, timestamptz) from public;
grant execute on function token_service.allow_token_endpoint_audience(text, timestamptz) to token_service_admin;


select token_service.attach_triggers('client_key', 'client', 'client_id', array['client_id', 'kid']);
select token_service.ensure_trigger('client_key', 'client_key_usage',
    'AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION token_service.forget_usage(''key'')');
select token_service.ensure_trigger('client_key', 'client_key_usage_truncate',
    'AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION token_service.forget_usage(''key'')');
