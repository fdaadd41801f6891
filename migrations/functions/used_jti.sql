-- The assertions that were used. The server calls the function; an insertion needs none.

create or replace function token_service.delete_expired_jti(p_limit integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_count integer;
begin
    if p_limit is null or p_limit not between 1 and 10000 then
        raise exception 'The limit is not 1 to 10000.'
            using errcode = 'check_violation',
            hint = 'Call it again as long as it deletes as many as the limit: there may be more.';
    end if;

    -- A replica whose clock is a few minutes behind still accepts an assertion that has expired by this clock.
    delete from used_jti
    where key = any (array(
        select key
        from used_jti
        where expires_at < now() - interval '5 minutes'
        order by expires_at
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function token_service.delete_expired_jti(integer) is
    'Deletes up to p_limit used assertions, at most 10000, that expired 5 minutes ago. It skips those that another '
    'replica is deleting. Returns how many; as many as p_limit means that there may be more.';

revoke all on function token_service.delete_expired_jti(integer) from public;
grant execute on function token_service.delete_expired_jti(integer) to token_service_app;
