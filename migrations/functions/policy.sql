-- The policy: the rules for all clients.

create or replace function token_service.set_policy(
    p_max_secret_age  interval default null,
    p_max_overlap     interval default null,
    p_min_digest_cost integer  default null,
    p_at_once         boolean  default false
) returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
as $$
declare
    v_now   timestamptz := token_service.instant();
    v_dying integer;
begin
    if p_max_secret_age <> interval '0' and not token_service.is_max_secret_age(p_max_secret_age) then
        raise exception 'The maximum secret age is not 1 to 3650 days.'
            using errcode = 'check_violation', hint = 'Say something like ''90 days''; ''0'' is no maximum.';
    end if;

    if not token_service.is_max_overlap(p_max_overlap) then
        raise exception 'The maximum overlap is not 0 to 365 days.'
            using errcode = 'check_violation', hint = 'Say something like ''30 days''.';
    end if;

    if not token_service.is_digest_cost(p_min_digest_cost) then
        raise exception 'The minimum digest cost is not 8192 to 655360.'
            using errcode = 'check_violation',
            hint = 'It is m (KiB) times t, as in Hashing:MemoryKiB and Hashing:Iterations: 38912 for 19456 and 2.';
    end if;

    -- Counts the live secrets that the new maximum age ends within 7 days. A secret that already ends as early or
    -- earlier does not count.
    select count(*) into v_dying
    from client_secret s
    where s.revoked_at is null
      and (token_service.secret_ends_at(s.created_at, s.expires_at) > v_now) is not false
      and p_max_secret_age <> interval '0'
      and s.created_at + p_max_secret_age <= v_now + interval '7 days'
      and (s.created_at + p_max_secret_age < token_service.secret_ends_at(s.created_at, s.expires_at)) is not false;
    if v_dying > 0 and not p_at_once then
        raise exception 'With that maximum age live secrets would end now or within 7 days: %.', v_dying
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'Rotate the oldest first: scripts/credentials-report.sql shows when each was made. '
                   'Pass -v at_once=on to end them all the same.';
    end if;

    update policy
    set max_secret_age  =
            case when p_max_secret_age is null then max_secret_age else nullif(p_max_secret_age, interval '0') end,
        max_overlap     = coalesce(p_max_overlap, max_overlap),
        min_digest_cost = coalesce(p_min_digest_cost, min_digest_cost);
end
$$;

comment on function token_service.set_policy(interval, interval, integer, boolean) is
    'Changes the rules that are not null. A maximum secret age of 0 removes the maximum. Refuses to end live secrets '
    'within 7 days, unless p_at_once is true.';

revoke all on function token_service.set_policy(interval, interval, integer, boolean) from public;
grant execute on function token_service.set_policy(interval, interval, integer, boolean)
    to token_service_admin;


select token_service.attach_triggers('policy', 'client', null, array['id']);
