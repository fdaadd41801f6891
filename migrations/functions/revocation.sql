create or replace function token_service.end_tokens_of(p_client_id text, p_until timestamptz) returns void
    language sql
    set search_path = pg_catalog, token_service, pg_temp
as $$
    insert into tokens_not_before as t (client_id, not_before)
    values (p_client_id, p_until)
    on conflict (client_id) do update
        set not_before = greatest(t.not_before, excluded.not_before)
$$;

comment on function token_service.end_tokens_of(text, timestamptz) is
    'Makes every token that a client got up to an instant dead.';

revoke all on function token_service.end_tokens_of(text, timestamptz) from public;


-- So that an API which verifies offline hears of it too, and nothing comes back to life with the client.
create or replace function token_service.end_tokens_of_withdrawn_client() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_now      timestamptz := clock_timestamp(); -- not when a long transaction began
    -- A replica that has not heard of it issues tokens for up to 5 seconds more; as much again is for clocks that differ.
    v_heard_by timestamptz := v_now + interval '10 seconds';
begin
    if tg_op = 'TRUNCATE' then
        perform token_service.end_tokens_of(id, v_heard_by) from client;
    elsif tg_op = 'DELETE' or (old.enabled and not new.enabled) then
        perform token_service.end_tokens_of(old.id, v_heard_by);
    -- Back again: a replica that could not reach the database went on for longer.
    elsif tg_op = 'INSERT' then
        update tokens_not_before set not_before = v_now where client_id = new.id and not_before < v_now;
    elsif new.enabled and not old.enabled then
        perform token_service.end_tokens_of(new.id, v_now);
    end if;
    return null;
end
$$;

comment on function token_service.end_tokens_of_withdrawn_client() is
    'Makes the tokens of a client that is disabled or deleted dead, also those that a replica issues before it hears of that; and, when it '
    'is enabled again or made anew, those of the time between.';

revoke all on function token_service.end_tokens_of_withdrawn_client() from public;


create or replace function token_service.revoke_client_tokens(p_client_id text) returns timestamptz
    language plpgsql security definer
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

revoke all on function token_service.revoke_client_tokens(text) from public;
grant execute on function token_service.revoke_client_tokens(text) to token_service_admin;


-- By the database's clock and so many at once, whoever asks: the service may call it, and no living revocation may go. The hour is for
-- clocks that differ and tokens that verifiers forgive a minute.
create or replace function token_service.delete_expired(p_limit integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_tokens  integer;
    v_clients integer;
begin
    if p_limit is null or p_limit not between 1 and 1000 then
        raise exception 'The limit is not 1 to 1000.'
            using errcode = 'check_violation', hint = 'Where as many were deleted as were asked for, ask again: there may be more.';
    end if;

    -- As an array: so they are chosen once, however the deletion is planned. A subquery of IN may be run again, and find the next ones.
    delete from revoked_token
    where jti = any (array(
        select jti
        from revoked_token
        where expires_at < now() - interval '1 hour'
        order by expires_at
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_tokens = row_count;

    delete from tokens_not_before
    where client_id = any (array(
        select client_id
        from tokens_not_before
        where not_before < now() - interval '25 hours' -- no token lives longer than a day
        order by not_before
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_clients = row_count;
    return greatest(v_tokens, v_clients);
end
$$;

comment on function token_service.delete_expired(integer) is
    'Deletes so many revocations, 1000 at most, whose tokens have expired; those that another deletes at the same time are left to it.';

revoke all on function token_service.delete_expired(integer) from public;
grant execute on function token_service.delete_expired(integer) to token_service_app;


select token_service.ensure_trigger('client', 'client_end_tokens',
    'AFTER INSERT OR DELETE OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION token_service.end_tokens_of_withdrawn_client()');
select token_service.ensure_trigger('client', 'client_end_tokens_truncate',
    'BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION token_service.end_tokens_of_withdrawn_client()');
select token_service.attach_triggers('revoked_token', 'token', 'jti', null, 'INSERT OR UPDATE');
select token_service.attach_triggers('tokens_not_before', 'client', 'client_id', array['client_id']);
