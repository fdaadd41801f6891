-- The rest of administration as functions: clients, secrets, scopes, resources, policy, and the reports. What changes nothing when it
-- is repeated may be repeated. p_now is there for tests.

create function token_service.require_client(p_client_id text, p_lock boolean default true) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if p_lock then
        -- Of two admins who change one client at once, the second sees what the first did.
        perform from client where id = p_client_id for update;
    else
        perform from client where id = p_client_id;
    end if;
    if not found then
        raise exception 'There is no client "%".', regexp_replace(coalesce(p_client_id, ''), '^tsvc_.*', 'tsvc_…')
            using errcode = 'no_data_found',
            hint = 'scripts/list-clients.sql shows those there are, scripts/create-client.sql makes one.';
    end if;
end
$$;

comment on function token_service.require_client(text, boolean) is
    'Refuses a client that is not there, and locks one that is, unless it is only to be looked at.';


create function token_service.require_dates(p_not_before timestamptz, p_expires_at timestamptz) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if p_not_before <= '1900-01-01Z' or greatest(p_not_before, p_expires_at) >= '9000-01-01Z' then
        raise exception 'A date of the secret is not between the years 1900 and 9000.'
            using errcode = 'check_violation', hint = 'Check the year, or leave the date out.';
    end if;
end
$$;

comment on function token_service.require_dates(timestamptz, timestamptz) is 'Refuses dates that no reader could represent.';


create or replace function token_service.add_secret(
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
declare
    v_not_before timestamptz := coalesce(p_not_before, now());
    v_made_at    timestamptz;
    v_ends_at    timestamptz;
begin
    perform token_service.require_client(p_client_id);

    -- Not when the transaction began: the order of a client's secrets is that in which its lock was had.
    v_made_at := clock_timestamp();
    v_ends_at := token_service.secret_ends_at(v_made_at, null);

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

    if char_length(p_label) not between 1 and 200 then
        raise exception 'The label of the secret is empty or longer than 200 characters.'
            using errcode = 'check_violation', hint = 'Say in a few words where the secret is kept, or leave the label out.';
    end if;

    perform token_service.require_dates(v_not_before, p_expires_at);

    if p_expires_at <= greatest(v_not_before, now()) then
        raise exception 'The secret would expire before it could be used.'
            using errcode = 'check_violation', hint = 'Choose an expires_at after now and after not_before, or leave it out.';
    end if;

    if v_not_before >= v_ends_at then
        raise exception 'The secret would be too old before it could be used.'
            using errcode = 'check_violation',
            hint = 'The policy''s maximum_secret_age counts from now on. Add the secret later, or with an earlier not_before.';
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

    insert into client_secret (id, client_id, digest, label, not_before, expires_at, created_at)
    values (p_secret_id, p_client_id, p_digest, p_label, v_not_before, p_expires_at, v_made_at);

    if v_ends_at < p_expires_at then
        raise warning 'The secret ends at %, by the policy''s maximum_secret_age.', v_ends_at
            using hint = 'Rotate it before then.';
    end if;
    return p_secret_id;
end
$$;


create function token_service.newest_secret_id(p_client_id text) returns text
    language sql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select id
    from client_secret
    where client_id = p_client_id
      and revoked_at is null
    order by created_at desc, id
    limit 1
$$;

comment on function token_service.newest_secret_id(text) is 'The client''s newest secret that is not revoked; null: it has none.';


create function token_service.rotate_secret(
    p_client_id        text,
    p_secret_id        text,
    p_digest           text,
    p_overlap          interval    default '24 hours',
    p_label            text        default null,
    p_not_before       timestamptz default null,
    p_expires_at       timestamptz default null,
    p_newest_secret_id text        default null,
    p_now              timestamptz default now()
) returns timestamptz
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_maximum interval := (select maximum_overlap from policy);
    v_old_end timestamptz;
begin
    perform token_service.require_client(p_client_id);

    if p_overlap is null or p_overlap < interval '0' then
        raise exception 'The overlap is missing or negative.'
            using errcode = 'check_violation',
            hint = 'Say for how long the old secrets still work, such as ''24 hours''; ''0'' ends them at once.';
    end if;

    if p_overlap > v_maximum then
        raise exception 'The overlap is longer than %, the longest the policy allows.', v_maximum
            using errcode = 'check_violation', hint = 'Choose a shorter one, or raise maximum_overlap with scripts/set-policy.sql.';
    end if;

    if p_newest_secret_id <> coalesce(token_service.newest_secret_id(p_client_id), '') then
        raise exception 'Somebody else has just changed the secrets of client "%".', p_client_id
            using errcode = 'serialization_failure',
            hint = 'Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end their new secret too.';
    end if;

    perform token_service.require_dates(p_not_before, p_expires_at);

    -- A new secret that begins later must find the old ones alive.
    v_old_end := greatest(p_not_before, p_now) + p_overlap;

    update client_secret
    set expires_at = case when not_before < v_old_end then v_old_end else expires_at end,
        -- One that would only begin then never does.
        revoked_at = case when not_before < v_old_end then revoked_at else p_now end
    where client_id = p_client_id
      and revoked_at is null
      and (expires_at is null or expires_at > v_old_end);

    perform token_service.add_secret(p_client_id, p_secret_id, p_digest, p_label, p_not_before, p_expires_at);
    return v_old_end;
end
$$;

comment on function
    token_service.rotate_secret(text, text, text, interval, text, timestamptz, timestamptz, text, timestamptz) is
    'Adds a secret and ends the client''s other ones after the overlap. Returns when they end. Refuses, if p_newest_secret_id is given, '
    'where that is no longer the newest.';


create function token_service.revoke_secret(
    p_client_id text,
    p_secret_id text,
    p_now       timestamptz default now()
) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_use secret_use;
begin
    perform token_service.require_client(p_client_id);

    perform from client_secret where id = p_secret_id and client_id = p_client_id;
    if not found then
        raise exception 'Client "%" has no such secret.', p_client_id
            using errcode = 'no_data_found', hint = 'scripts/show-client.sql shows the ids of its secrets.';
    end if;

    update client_secret
    set revoked_at = p_now
    where id = p_secret_id
      and (revoked_at is null or revoked_at > p_now);
    if not found then
        return;
    end if;

    select * into v_use from secret_use where secret_id = p_secret_id and last_used_at > p_now - interval '7 days';
    if found then
        raise warning 'The secret was still used, last at % from %.', v_use.last_used_at, coalesce(host(v_use.last_used_from), 'unknown')
            using hint = 'Whoever used it needs another secret now.';
    end if;

    if not exists (
        select from client_secret
        where client_id = p_client_id
          and revoked_at is null
          and not_before <= p_now
          and (token_service.secret_ends_at(created_at, expires_at) > p_now) is not false
    ) then
        raise warning 'Client "%" has no live secret left, so it can get no token.', p_client_id
            using hint = 'Give it one with scripts/add-secret.sql, or disable it with scripts/disable-client.sql.';
    end if;
end
$$;

comment on function token_service.revoke_secret(text, text, timestamptz) is
    'Ends a secret at once. Warns where it was in use, or was the last.';


-- One truth for the report that calls a secret safe to retire and for the function that retires it.
create function token_service.idle_secrets(p_idle interval, p_now timestamptz)
    returns table (secret_id text, newer_secret_id text)
    language sql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    with alive as (
        select s.id, s.client_id, s.created_at, greatest(s.created_at, s.not_before, u.last_used_at, policy.uses_counted_since) as idle_since
        from client_secret s
        cross join policy
        left join secret_use u on u.secret_id = s.id
        where s.revoked_at is null
          and s.not_before <= p_now
          and (token_service.secret_ends_at(s.created_at, s.expires_at) > p_now) is not false
    )
    select distinct on (old.id) old.id, newer.id
    from alive old
    join alive newer on newer.client_id = old.client_id and newer.created_at > old.created_at
    where old.idle_since < p_now - p_idle
    order by old.id, newer.created_at desc, newer.id
$$;

comment on function token_service.idle_secrets(interval, timestamptz) is
    'Live secrets unused for a time, whose client has a newer live one.';


create function token_service.require_idle_time(p_idle interval) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if p_idle is null or p_idle < interval '2 minutes' then
        raise exception 'The idle time is missing or shorter than 2 minutes.'
            using errcode = 'check_violation',
            hint = 'Uses are written every 30 seconds: a shorter time would miss some. Say something like ''30 days''.';
    end if;
end
$$;

comment on function token_service.require_idle_time(interval) is 'Refuses an idle time too short to mean anything.';


create function token_service.retire_unused_secrets(
    p_idle    interval,
    p_dry_run boolean     default true,
    p_now     timestamptz default now()
) returns table (client_id text, secret_id text, label text, last_used_at timestamptz, newer_secret_id text)
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
#variable_conflict use_column
begin
    perform token_service.require_idle_time(p_idle);

    if not p_dry_run then
        -- Locks their clients: nobody revokes a newer sibling meanwhile.
        perform from client c
        where c.id in (select s.client_id from token_service.idle_secrets(p_idle, p_now) i join client_secret s on s.id = i.secret_id)
        order by c.id
        for update;

        return query
        update client_secret s
        set revoked_at = p_now
        from token_service.idle_secrets(p_idle, p_now) i
        left join secret_use u on u.secret_id = i.secret_id
        where s.id = i.secret_id
          and s.revoked_at is null
        returning s.client_id, s.id, s.label, u.last_used_at, i.newer_secret_id;
        return;
    end if;

    return query
    select s.client_id, s.id, s.label, u.last_used_at, i.newer_secret_id
    from token_service.idle_secrets(p_idle, p_now) i
    join client_secret s on s.id = i.secret_id
    left join secret_use u on u.secret_id = i.secret_id
    order by s.client_id, s.id;
end
$$;

comment on function token_service.retire_unused_secrets(interval, boolean, timestamptz) is
    'Revokes the live secrets that have been idle for a time and have a newer live sibling, and returns them. A dry run only returns them.';


create function token_service.require_client_properties(p_client_id text, p_name text, p_methods text[]) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if char_length(p_name) not between 1 and 200 then
        raise exception 'The name of client "%" is empty or longer than 200 characters.', p_client_id
            using errcode = 'check_violation', hint = 'Say in a few words what the client is.';
    end if;

    if cardinality(p_methods) = 0 or not p_methods <@ array['client_secret_basic', 'client_secret_post'] then
        raise exception 'The authentication methods of client "%" are not ones this server offers.', p_client_id
            using errcode = 'check_violation', hint = 'Use client_secret_basic, client_secret_post or both.';
    end if;
end
$$;

comment on function token_service.require_client_properties(text, text, text[]) is 'Refuses a name or methods that no client can have.';


create function token_service.update_client(
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

comment on function token_service.update_client(text, text, interval, text[], jsonb, integer) is
    'Changes what is given of a client, and leaves what is null. A lifetime of 0 is the server''s default, a ceiling of 0 is none.';


create function token_service.set_client_enabled(p_client_id text, p_enabled boolean) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform token_service.require_client(p_client_id);
    if p_enabled is null then
        raise exception 'It is not said whether client "%" is to be enabled.', p_client_id
            using errcode = 'null_value_not_allowed', hint = 'Say true or false.';
    end if;
    update client set enabled = p_enabled where id = p_client_id and enabled <> p_enabled;
end
$$;

comment on function token_service.set_client_enabled(text, boolean) is
    'Disables a client, so that it is refused like an unknown one, or enables it again.';


create function token_service.delete_client(p_client_id text) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform token_service.require_client(p_client_id);
    if (select enabled from client where id = p_client_id) then
        raise exception 'Client "%" is enabled.', p_client_id
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'Disable it with scripts/disable-client.sql, and delete it when nobody has missed it.';
    end if;
    -- In the order in which a replica that writes counts of use takes its locks.
    delete from secret_use where secret_id in (select id from client_secret where client_id = p_client_id);
    delete from scope_use where client_id = p_client_id;
    delete from client where id = p_client_id;
end
$$;

comment on function token_service.delete_client(text) is 'Deletes a disabled client with its secrets and grants. The audit log keeps what they were.';


create function token_service.require_scope_grammar(p_scope text) returns void
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

comment on function token_service.require_scope_grammar(text) is 'Refuses what is no scope-token of RFC 6749 §3.3.';


create function token_service.create_resource(
    p_resource    text,
    p_scopes      text[] default array[]::text[],
    p_signing_alg text   default null
) returns text
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_scope text;
    v_owner text;
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

    insert into resource (audience) values (p_resource) on conflict do nothing;
    update resource
    set signing_alg = nullif(p_signing_alg, 'default')
    where audience = p_resource
      and p_signing_alg is not null;

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

comment on function token_service.create_resource(text, text[], text) is
    'Makes a resource, or completes one that is there: adds the scopes it lacks, sets its signing algorithm if one is given.';


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

    if p_scopes is null or cardinality(p_scopes) = 0 then
        raise exception 'Client "%" would hold no scope, so it could get no token.', p_client_id
            using errcode = 'check_violation', hint = 'Pass at least one scope.';
    end if;

    if not coalesce(p_default_scopes, array[]::text[]) <@ p_scopes then
        raise exception 'A default scope of client "%" is not among its scopes.', p_client_id
            using errcode = 'check_violation', hint = 'Default scopes are those of its scopes granted when a request names none.';
    end if;

    insert into client (id, name, authentication_methods) values (p_client_id, p_name, p_methods) on conflict do nothing;
    if not found then
        raise exception 'There is already a client "%".', p_client_id
            using errcode = 'unique_violation', hint = 'Choose another client_id.';
    end if;

    perform token_service.create_resource(p_resource, p_scopes);
    insert into client_scope (client_id, scope, is_default)
    select distinct p_client_id, s, s = any (coalesce(p_default_scopes, array[]::text[]))
    from unnest(p_scopes) as s;
    perform token_service.add_secret(p_client_id, p_secret_id, p_digest);
    return p_client_id;
end
$$;


create function token_service.grant_scope(
    p_client_id  text,
    p_scope      text,
    p_is_default boolean default null
) returns void
    language plpgsql
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


create function token_service.require_scope(p_scope text) returns void
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

comment on function token_service.require_scope(text) is 'Refuses a scope that is not there.';


create function token_service.revoke_scope(p_client_id text, p_scope text) returns void
    language plpgsql
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


create function token_service.set_policy(
    p_maximum_secret_age  interval default null,
    p_maximum_overlap     interval default null,
    p_minimum_digest_cost integer  default null,
    p_at_once             boolean  default false,
    p_now                 timestamptz default now()
) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_dying integer;
begin
    if p_maximum_secret_age <> interval '0' and p_maximum_secret_age not between interval '1 day' and interval '3650 days' then
        raise exception 'The maximum secret age is not 1 to 3650 days.'
            using errcode = 'check_violation', hint = 'Say something like ''90 days''; ''0'' is no maximum.';
    end if;

    if p_maximum_overlap not between interval '0' and interval '365 days' then
        raise exception 'The maximum overlap is not 0 to 365 days.'
            using errcode = 'check_violation', hint = 'Say something like ''30 days''.';
    end if;

    if p_minimum_digest_cost not between 8192 and 655360 then
        raise exception 'The minimum digest cost is not 8192 to 655360.'
            using errcode = 'check_violation', hint = 'It is m (KiB) times t, as in Hashing:MemoryKiB and Hashing:Iterations: 38912 for 19456 and 2.';
    end if;

    -- Warns before it bites.
    select count(*) into v_dying
    from client_secret s
    where s.revoked_at is null
      and (token_service.secret_ends_at(s.created_at, s.expires_at) > p_now) is not false
      and s.created_at + p_maximum_secret_age <= p_now + interval '7 days'
      and p_maximum_secret_age <> interval '0'
      -- Not those that end no later already.
      and (s.created_at + p_maximum_secret_age < token_service.secret_ends_at(s.created_at, s.expires_at)) is not false;
    if v_dying > 0 and not p_at_once then
        raise exception 'With that maximum age live secrets would end now or within 7 days: %.', v_dying
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'Rotate the oldest first: scripts/secrets-report.sql shows when each was made. Pass -v at_once=on to end them all the same.';
    end if;

    update policy
    set maximum_secret_age = case when p_maximum_secret_age is null then maximum_secret_age else nullif(p_maximum_secret_age, interval '0') end,
        maximum_overlap = coalesce(p_maximum_overlap, maximum_overlap),
        minimum_digest_cost = coalesce(p_minimum_digest_cost, minimum_digest_cost);
end
$$;

comment on function token_service.set_policy(interval, interval, integer, boolean, timestamptz) is
    'Changes what is given of the policy, and leaves what is null. A maximum secret age of 0 is none. Refuses to end live secrets within '
    '7 days unless told to.';


create function token_service.secrets_report(
    p_client_id text        default null,
    p_idle      interval    default '30 days',
    p_soon      interval    default '14 days',
    p_now       timestamptz default now()
) returns table (
    client_id      text,
    secret_id      text,
    label          text,
    state          text,
    made_at        timestamptz,
    ends_at        timestamptz,
    last_used_at   timestamptz,
    use_count      bigint,
    last_used_from text,
    digest_cost    text,
    findings       text
)
    language plpgsql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
#variable_conflict use_column
begin
    perform token_service.require_idle_time(p_idle);
    if p_client_id is not null then
        perform token_service.require_client(p_client_id, p_lock => false);
    end if;
    return query
    select s.client_id,
           s.id,
           s.label,
           life.state,
           s.created_at,
           life.ends_at,
           u.last_used_at,
           coalesce(u.use_count, 0),
           host(u.last_used_from),
           format('m=%s,t=%s', cost.m[1], cost.m[2]),
           concat_ws(', ',
               case
                   when life.state <> 'alive' then null
                   when i.secret_id is not null then 'safe to retire'
                   when u.last_used_at < p_now - p_idle then 'idle, but the client has no newer live one'
                   when u.last_used_at is null and s.created_at < policy.uses_counted_since
                       then format('not used since %s', policy.uses_counted_since::date)
                   when u.last_used_at is null then 'never used'
                   when exists (
                       select from client_secret newer
                       where newer.client_id = s.client_id and newer.created_at > s.created_at and newer.revoked_at is null
                   ) then 'still used'
               end,
               case when life.state in ('alive', 'to come') and life.ends_at <= p_now + p_soon then 'ends soon' end,
               case when life.state in ('alive', 'to come') and cost.m[1]::integer * cost.m[2]::integer < policy.minimum_digest_cost
                    then 'digest weaker than the policy' end)
    from client_secret s
    cross join policy
    cross join lateral regexp_match(s.digest, 'm=([0-9]+),t=([0-9]+)') as cost (m)
    cross join lateral (
        select ends.at as ends_at,
               case
                   when s.revoked_at <= p_now then 'revoked'
                   when ends.at <= p_now then 'expired'
                   when s.not_before > p_now then 'to come'
                   else 'alive'
               end as state
        from (select least(s.revoked_at, token_service.secret_ends_at(s.created_at, s.expires_at)) as at) ends
    ) life
    left join secret_use u on u.secret_id = s.id
    left join token_service.idle_secrets(p_idle, p_now) i on i.secret_id = s.id
    where p_client_id is null
       or s.client_id = p_client_id
    order by s.client_id, s.created_at, s.id;
end
$$;

comment on function token_service.secrets_report(text, interval, interval, timestamptz) is
    'Every secret, of one client or of all: whether it is alive, when it ends, when, how often and from where it was used, and what is to do.';


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
    where p_client_id is null
       or c.id = p_client_id
    order by c.id;
end
$$;

comment on function token_service.clients_report(text, timestamptz) is 'Every client, or one, with what it has.';


create function token_service.access_report(p_idle interval default '90 days', p_now timestamptz default now())
    returns table (client_id text, name text, scope text, last_used_at timestamptz, since timestamptz, finding text)
    language plpgsql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
#variable_conflict use_column
begin
    perform token_service.require_idle_time(p_idle);
    return query
    with clients as (
        select c.id, c.name, c.created_at, max(u.last_used_at) as last_used_at
        from client c
        left join client_secret s on s.client_id = c.id
        left join secret_use u on u.secret_id = s.id
        where c.enabled
        group by c.id
    )
    select c.id, c.name, null::text, c.last_used_at, c.created_at, 'client is idle: disable it?'
    from clients c
    cross join policy
    where greatest(c.last_used_at, c.created_at, policy.uses_counted_since) < p_now - p_idle
    union all
    select c.id, c.name, cs.scope, u.last_used_at, cs.created_at, 'scope is not asked for: revoke it?'
    from clients c
    join client_scope cs on cs.client_id = c.id
    left join scope_use u on u.client_id = cs.client_id and u.scope = cs.scope
    cross join policy
    where greatest(u.last_used_at, cs.created_at, policy.uses_counted_since) < p_now - p_idle
      and greatest(c.last_used_at, c.created_at) >= p_now - p_idle
    order by 1, 3 nulls first;
end
$$;

comment on function token_service.access_report(interval, timestamptz) is
    'Enabled clients that have been idle for a time, and scopes that clients hold and have not asked for in that time.';
