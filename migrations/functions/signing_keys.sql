-- Signing keys: the date that follows from the others, and what an admin does to a key by hand. The server does
-- everything else.

-- The one place that decides when a key is gone, for every change of its dates.
create or replace function token_service.set_signing_key_gone_after() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    new.gone_after := coalesce(
        new.withdrawn_at,
        -- The quarter of an hour is for a replica that learns late that the key has ended, and for clocks that differ.
        new.signs_until + make_interval(secs => new.max_token_lifetime_seconds) + interval '15 minutes');
    return new;
end
$$;

comment on function token_service.set_signing_key_gone_after() is
    'Computes signing_key.gone_after from the other dates of the row.';

revoke all on function token_service.set_signing_key_gone_after() from public;


-- The lock lets others read and change keys, and keeps out only others that take it. The server calls this because its
-- role may not lock the table.
create or replace function token_service.lock_signing_keys() returns void
    language sql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
    lock table signing_key in share update exclusive mode
$$;

comment on function token_service.lock_signing_keys() is
    'Lets one replica at a time make and end signing keys. The lock lasts until the end of the transaction.';

revoke all on function token_service.lock_signing_keys() from public;
grant execute on function token_service.lock_signing_keys() to token_service_app;


create or replace function token_service.algorithm_signs_from(p_alg text) returns timestamptz
    language sql stable security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select min(least(signs_from, known_from))
    from signing_key
    where alg = p_alg
      and withdrawn_at is null
      and (signs_until > token_service.instant()) is not false
      -- A key does not sign in the last day of the life that its seal binds.
      and (ends_by - interval '24 hours 15 minutes' > token_service.instant()) is not false
$$;

comment on function token_service.algorithm_signs_from(text) is
    'From when tokens for a resource with this signing algorithm are issued: a date in the past where a key signs. Null '
    'while there is no key. A running server publishes the first key within seconds, and it signs when every verifier '
    'has it: Keys:JwksMaxAge and 12 minutes later.';

revoke all on function token_service.algorithm_signs_from(text) from public;
grant execute on function token_service.algorithm_signs_from(text) to token_service_admin;


create or replace function token_service.rotate_signing_key(p_alg text default null)
    returns table (kid text, alg text, signs_from timestamptz)
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    v_now timestamptz := token_service.instant();
begin
    if not exists (select from signing_key k where p_alg is null or k.alg = p_alg) then
        raise exception 'There is no signing key of that algorithm.'
            using errcode = 'no_data_found', hint = 'TokenService keys list shows the keys there are.';
    end if;

    -- The next key of each algorithm signs from the first instant at which every verifier has it.
    return query
    with next as (
        select k.kid, k.alg, k.signs_from as planned, greatest(v_now, k.known_from) as brought_forward
        from signing_key k
        where (p_alg is null or k.alg = p_alg)
          and k.signs_from > v_now
          and k.signs_until is null
          and k.withdrawn_at is null
    ), ended as (
        update signing_key k
        set signs_until = next.brought_forward
        from next
        where k.alg = next.alg
          and k.signs_until = next.planned
          and k.signs_from <= next.brought_forward
    )
    update signing_key k
    set signs_from = next.brought_forward
    from next
    where k.kid = next.kid
    returning k.kid, k.alg, k.signs_from;
end
$$;

comment on function token_service.rotate_signing_key(text) is
    'Lets the next key of an algorithm, or of each algorithm, sign as soon as all verifiers have it. Returns these '
    'keys, and from when they sign.';

revoke all on function token_service.rotate_signing_key(text) from public;
grant execute on function token_service.rotate_signing_key(text) to token_service_admin;


create or replace function token_service.withdraw_signing_key(p_kid text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_now timestamptz := token_service.instant();
    v_key signing_key;
begin
    select * into v_key from signing_key where kid = p_kid for update;
    if not found then
        raise exception 'There is no signing key of that kid.'
            using errcode = 'no_data_found', hint = 'TokenService keys list shows the keys there are.';
    end if;
    if v_key.withdrawn_at is not null then
        return;
    end if;

    update signing_key
    set withdrawn_at = v_now, sealed_private_key = null
    where kid = p_kid;

    -- If this was the next key, the one before it signs until there is another. If this key was signing, the server
    -- lets the next one sign as soon as it learns of the withdrawal.
    update signing_key
    set signs_until = null
    where alg = v_key.alg
      and signs_until = v_key.signs_from
      and signs_until > v_now
      and withdrawn_at is null;
end
$$;

comment on function token_service.withdraw_signing_key(text) is
    'Withdraws a compromised key: it leaves the JWKS at once, its private half is destroyed, and the next key signs '
    'at once.';

revoke all on function token_service.withdraw_signing_key(text) from public;
grant execute on function token_service.withdraw_signing_key(text) to token_service_admin;


select token_service.ensure_trigger('signing_key', 'signing_key_gone_after',
    'BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION token_service.set_signing_key_gone_after()');
select token_service.attach_triggers('signing_key', 'signing_key', null, array['kid']);
