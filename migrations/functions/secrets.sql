-- Client secrets: adding, rotating, revoking and retiring them. A call that changes nothing when it is repeated may be
-- repeated. No message repeats a value that could be a secret pasted by mistake.

create or replace function token_service.secret_ends_at(p_created_at timestamptz, p_expires_at timestamptz)
    returns timestamptz
    language sql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select least(p_expires_at, p_created_at + (select max_secret_age from policy))
$$;

comment on function token_service.secret_ends_at(timestamptz, timestamptz) is
    'When a secret expires: at its own date or by the maximum age, whichever is earlier. Null: it does not.';

revoke all on function token_service.secret_ends_at(timestamptz, timestamptz) from public;
grant execute on function token_service.secret_ends_at(timestamptz, timestamptz) to token_service_app;


create or replace function token_service.require_dates(p_not_before timestamptz, p_expires_at timestamptz) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if not token_service.is_representable(p_not_before) or not token_service.is_representable(p_expires_at) then
        raise exception 'A date is not between the years 1900 and 9000.'
            using errcode = 'check_violation', hint = 'Check the year, or leave the date out.';
    end if;
end
$$;

comment on function token_service.require_dates(timestamptz, timestamptz) is
    'Refuses dates that not every reader can represent. Null is not refused.';

revoke all on function token_service.require_dates(timestamptz, timestamptz) from public;


create or replace function token_service.require_new_secret(p_client_id text, p_secret_id text, p_digest text)
    returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if token_service.is_argon2id_digest(p_digest) is not true then
        raise exception 'The digest of client "%" is not an Argon2id digest.', p_client_id
            using errcode = 'check_violation',
            hint = 'Make one with "TokenService secret new", or digest a secret you already have with '
                   '"TokenService secret hash". Never store a secret itself: if one was pasted here, treat it as '
                   'leaked.';
    end if;

    if p_secret_id is null then
        raise exception 'The digest of client "%" comes without its secret_id.', p_client_id
            using errcode = 'null_value_not_allowed',
            hint = 'Pass digest and secret_id together, as "TokenService secret new" or "TokenService secret hash" '
                   'printed them.';
    end if;

    if not token_service.is_secret_id(p_secret_id) then
        raise exception 'The secret_id of client "%" is not one that TokenService made.', p_client_id
            using errcode = 'check_violation', hint = 'Pass the secret_id that was printed beside the digest.';
    end if;

    if exists (select from client_secret where id = p_secret_id) then
        raise exception 'The secret_id "%" is in use already.', p_secret_id
            using errcode = 'unique_violation',
            hint = 'Each secret is added once. Make a fresh one with "TokenService secret new".';
    end if;
end
$$;

comment on function token_service.require_new_secret(text, text, text) is
    'Refuses a digest that is no Argon2id digest, and the id of a secret that is malformed or in use.';

revoke all on function token_service.require_new_secret(text, text, text) from public;


create or replace function token_service.add_secret(
    p_client_id  text,
    p_secret_id  text,
    p_digest     text,
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
    v_made_at    timestamptz;
    v_ends_at    timestamptz;
begin
    perform token_service.require_client(p_client_id);

    -- now() is the instant at which the transaction began. With clock_timestamp(), a client's secrets have the order in
    -- which admins got its lock.
    v_made_at := clock_timestamp();
    v_ends_at := token_service.secret_ends_at(v_made_at, null);

    perform token_service.require_new_secret(p_client_id, p_secret_id, p_digest);

    if not token_service.is_short_text(p_label) then
        raise exception 'The label of the secret is empty or longer than 200 characters.'
            using errcode = 'check_violation',
            hint = 'Say in a few words where the secret is kept, or leave the label out.';
    end if;

    perform token_service.require_dates(v_not_before, p_expires_at);

    if p_expires_at <= greatest(v_not_before, now()) then
        raise exception 'The secret would expire before it could be used.'
            using errcode = 'check_violation',
            hint = 'Choose an expires_at after now and after not_before, or leave it out.';
    end if;

    if v_not_before >= v_ends_at then
        raise exception 'The secret would be too old before it could be used.'
            using errcode = 'check_violation',
            hint = 'The policy''s max_secret_age counts from now on. Add the secret later, or with an earlier '
                   'not_before.';
    end if;

    -- An imported secret does not name its row, so a wrong guess costs one hash for each that the client has.
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
        raise warning 'The secret ends at %, by the policy''s max_secret_age.', v_ends_at
            using hint = 'Rotate it before then.';
    end if;
    if (select authentication_methods from client where id = p_client_id) = array['private_key_jwt'] then
        raise warning 'Client "%" may not authenticate with a secret.', p_client_id
            using hint = 'Allow it with scripts/update-client.sql: -v methods=''client_secret_basic private_key_jwt''.';
    end if;
    return p_secret_id;
end
$$;

comment on function token_service.add_secret(text, text, text, text, timestamptz, timestamptz) is
    'Adds a secret to a client by its digest, and leaves its other secrets alone. Returns the secret''s id.';

revoke all on function token_service.add_secret(text, text, text, text, timestamptz, timestamptz) from public;
grant execute on function token_service.add_secret(text, text, text, text, timestamptz, timestamptz)
    to token_service_admin;


create or replace function token_service.newest_secret_id(p_client_id text) returns text
    language sql stable security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select id
    from client_secret
    where client_id = p_client_id
      and revoked_at is null
    order by created_at desc, id
    limit 1
$$;

comment on function token_service.newest_secret_id(text) is
    'The client''s newest secret that is not revoked. Null: it has none.';

revoke all on function token_service.newest_secret_id(text) from public;
grant execute on function token_service.newest_secret_id(text) to token_service_admin;


create or replace function token_service.require_overlap(p_overlap interval, p_of text) returns void
    language plpgsql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_max_overlap interval := (select max_overlap from policy);
begin
    if p_overlap is null or p_overlap < interval '0' then
        raise exception 'The overlap is missing or negative.'
            using errcode = 'check_violation',
            hint = format('Say for how long the old %s still work, such as ''24 hours''; ''0'' ends them at once.', p_of);
    end if;

    if p_overlap > v_max_overlap then
        raise exception 'The overlap is longer than %, the longest the policy allows.', v_max_overlap
            using errcode = 'check_violation',
            hint = 'Choose a shorter one, or raise max_overlap with scripts/set-policy.sql.';
    end if;
end
$$;

comment on function token_service.require_overlap(interval, text) is
    'Refuses an overlap that is missing, negative, or longer than the policy allows.';

revoke all on function token_service.require_overlap(interval, text) from public;


create or replace function token_service.rotate_secret(
    p_client_id        text,
    p_secret_id        text,
    p_digest           text,
    p_overlap          interval    default '24 hours',
    p_label            text        default null,
    p_not_before       timestamptz default null,
    p_expires_at       timestamptz default null,
    p_newest_secret_id text        default null
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

    perform token_service.require_overlap(p_overlap, 'secrets');

    if p_newest_secret_id <> coalesce(token_service.newest_secret_id(p_client_id), '') then
        raise exception 'Somebody else has just changed the secrets of client "%".', p_client_id
            using errcode = 'serialization_failure',
            hint = 'Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end '
                   'their new secret too.';
    end if;

    perform token_service.require_dates(p_not_before, p_expires_at);

    -- The old secrets live until the new one begins, and then for the overlap.
    v_old_end := greatest(p_not_before, v_now) + p_overlap;
    -- Checked here, because the message of a constraint would show the old row with its digest.
    perform token_service.require_dates(v_old_end, null);

    update client_secret
    set expires_at = case when not_before < v_old_end then v_old_end else expires_at end,
        -- A secret that would begin only after that instant is revoked.
        revoked_at = case when not_before < v_old_end then revoked_at else v_now end
    where client_id = p_client_id
      and revoked_at is null
      and (expires_at is null or expires_at > v_old_end);

    perform token_service.add_secret(p_client_id, p_secret_id, p_digest, p_label, p_not_before, p_expires_at);
    return v_old_end;
end
$$;

comment on function token_service.rotate_secret(text, text, text, interval, text, timestamptz, timestamptz, text) is
    'Adds a secret and ends the client''s other secrets after the overlap. Returns when they end. '
    'Refuses if p_newest_secret_id is given and is not the newest: another admin has changed the secrets.';

revoke all on function token_service.rotate_secret(text, text, text, interval, text, timestamptz, timestamptz, text)
    from public;
grant execute on function token_service.rotate_secret(text, text, text, interval, text, timestamptz, timestamptz, text)
    to token_service_admin;


create or replace function token_service.revoke_secret(p_client_id text, p_secret_id text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_now timestamptz := token_service.instant();
    v_use credential_use;
begin
    perform token_service.require_client(p_client_id);

    perform from client_secret where id = p_secret_id and client_id = p_client_id;
    if not found then
        raise exception 'Client "%" has no such secret.', p_client_id
            using errcode = 'no_data_found', hint = 'scripts/show-client.sql shows the ids of its secrets.';
    end if;

    update client_secret
    set revoked_at = v_now
    where id = p_secret_id
      and (revoked_at is null or revoked_at > v_now);
    if not found then
        return;
    end if;

    select * into v_use
    from credential_use
    where kind = 'secret'
      and credential_id = p_secret_id
      and last_used_at > v_now - interval '7 days';
    if found then
        raise warning 'The secret was still used, last at % from %.',
                v_use.last_used_at, coalesce(host(v_use.last_used_from), 'unknown')
            using hint = 'The client needs another secret there now.';
    end if;

    if not exists (
        select from client_secret
        where client_id = p_client_id
          and revoked_at is null
          and not_before <= v_now
          and (token_service.secret_ends_at(created_at, expires_at) > v_now) is not false
    ) and not (
        token_service.has_live_key(p_client_id, v_now)
        and exists (select from client where id = p_client_id and 'private_key_jwt' = any (authentication_methods))
    ) then
        raise warning 'Client "%" has no live secret left, so it can get no token.', p_client_id
            using hint = 'Give it one with scripts/add-secret.sql, or disable it with scripts/disable-client.sql.';
    end if;
end
$$;

comment on function token_service.revoke_secret(text, text) is
    'Ends a secret at once. Warns if it was still used, or if the client has no other and no key either.';

revoke all on function token_service.revoke_secret(text, text) from public;
grant execute on function token_service.revoke_secret(text, text) to token_service_admin;


create or replace function token_service.require_idle_time(p_idle interval) returns void
    language plpgsql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if p_idle between interval '2 minutes' and interval '3650 days' is not true then
        raise exception 'The idle time is not 2 minutes to 3650 days.'
            using errcode = 'check_violation',
            hint = 'Usage is written every 30 seconds: a shorter time would miss some. Say something like ''30 days''.';
    end if;
end
$$;

comment on function token_service.require_idle_time(interval) is
    'Refuses an idle time that is missing, or too short or too long to mean anything.';

revoke all on function token_service.require_idle_time(interval) from public;


-- The report that calls a secret safe to retire and the function that retires it both call this function.
create or replace function token_service.idle_secrets(p_idle interval, p_now timestamptz)
    returns table (secret_id text, newer_secret_id text)
    language sql stable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    with alive as (
        select s.id, s.client_id, s.created_at,
               greatest(s.created_at, s.not_before, u.last_used_at, policy.usage_counted_since) as idle_since
        from client_secret s
        cross join policy
        left join credential_use u on u.kind = 'secret' and u.credential_id = s.id
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
    'The live secrets that were not used for a time and whose client has a newer live secret.';

revoke all on function token_service.idle_secrets(interval, timestamptz) from public;


create or replace function token_service.retire_unused_secrets(
    p_idle    interval,
    p_dry_run boolean default true
) returns table (client_id text, secret_id text, label text, last_used_at timestamptz, newer_secret_id text)
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    v_now timestamptz := token_service.instant();
begin
    perform token_service.require_idle_time(p_idle);

    if not p_dry_run then
        -- The lock on the clients keeps other transactions from revoking a newer secret meanwhile.
        perform from client c
        where c.id in (
            select s.client_id
            from token_service.idle_secrets(p_idle, v_now) i
            join client_secret s on s.id = i.secret_id)
        order by c.id
        for no key update;

        return query
        update client_secret s
        set revoked_at = v_now
        from token_service.idle_secrets(p_idle, v_now) i
        left join credential_use u on u.kind = 'secret' and u.credential_id = i.secret_id
        where s.id = i.secret_id
          and s.revoked_at is null
        returning s.client_id, s.id, s.label, u.last_used_at, i.newer_secret_id;
        return;
    end if;

    return query
    select s.client_id, s.id, s.label, u.last_used_at, i.newer_secret_id
    from token_service.idle_secrets(p_idle, v_now) i
    join client_secret s on s.id = i.secret_id
    left join credential_use u on u.kind = 'secret' and u.credential_id = i.secret_id
    order by s.client_id, s.id;
end
$$;

comment on function token_service.retire_unused_secrets(interval, boolean) is
    'Revokes the live secrets that were not used for a time and whose client has a newer live secret, and returns '
    'them. A dry run only returns them.';

revoke all on function token_service.retire_unused_secrets(interval, boolean) from public;
grant execute on function token_service.retire_unused_secrets(interval, boolean) to token_service_admin;


-- The server calls this. A MAC of its own making helps nobody: the server has the key and sees the secrets.
create or replace function token_service.keep_verified_secrets(
    p_ids             text[],
    p_macs            bytea[],
    p_sealing_key_ids text[],
    p_verified_at     timestamptz[]
) returns void
    language sql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
    insert into verified_secret (secret_id, mac, sealing_key_id, verified_at)
    select t.id, t.mac, t.sealing_key_id, t.verified_at
    from unnest(p_ids, p_macs, p_sealing_key_ids, p_verified_at) as t (id, mac, sealing_key_id, verified_at)
    join client_secret s on s.id = t.id
    where s.revoked_at is null
    order by t.id
    on conflict (secret_id) do update
    set mac = excluded.mac,
        sealing_key_id = excluded.sealing_key_id,
        verified_at = excluded.verified_at
$$;

comment on function token_service.keep_verified_secrets(text[], bytea[], text[], timestamptz[]) is
    'Keeps the MACs of generated secrets that were verified. Each argument has one element for each secret.';

revoke all on function token_service.keep_verified_secrets(text[], bytea[], text[], timestamptz[]) from public;
grant execute on function token_service.keep_verified_secrets(text[], bytea[], text[], timestamptz[])
    to token_service_app;


create or replace function token_service.forget_verified_secret() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    if new.digest <> old.digest or new.revoked_at is not null then
        -- A transaction of the server may hold the row, and must not keep an admin from revoking a secret. The MAC of a
        -- revoked secret does no harm.
        delete from verified_secret
        where secret_id = any (array(select secret_id from verified_secret where secret_id = old.id for update skip locked));
    end if;
    return null;
end
$$;

comment on function token_service.forget_verified_secret() is
    'Deletes the MAC of a secret that is revoked or gets another digest.';

revoke all on function token_service.forget_verified_secret() from public;


select token_service.attach_triggers('client_secret', 'client', 'client_id', array['id']);
select token_service.ensure_trigger('client_secret', 'client_secret_usage',
    'AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION token_service.forget_usage(''secret'')');
select token_service.ensure_trigger('client_secret', 'client_secret_usage_truncate',
    'AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION token_service.forget_usage(''secret'')');
select token_service.ensure_trigger('client_secret', 'client_secret_verified',
    'AFTER UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION token_service.forget_verified_secret()');
