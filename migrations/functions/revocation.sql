-- Tokens that are dead before they expire.

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
    'Ends every token that a client got up to an instant.';

revoke all on function token_service.end_tokens_of(text, timestamptz) from public;


-- An API that verifies offline learns of these dead tokens too, through the list of revoked tokens. When the client is
-- enabled or made again, its earlier tokens stay dead.
create or replace function token_service.end_tokens_of_withdrawn_client() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_now timestamptz := clock_timestamp(); -- not now(), which is when a long transaction began
    -- A replica may learn of the change up to 5 seconds late, and issues tokens until then; another 5 are for clocks
    -- that differ.
    v_heard_by timestamptz := v_now + interval '10 seconds';
begin
    if tg_op = 'TRUNCATE' then
        perform token_service.end_tokens_of(id, v_heard_by) from client;
    elsif tg_op = 'DELETE' or (old.enabled and not new.enabled) then
        perform token_service.end_tokens_of(old.id, v_heard_by);
    -- The client is made or enabled again. A replica that could not reach the database may have issued tokens to it for
    -- longer than 10 seconds.
    elsif tg_op = 'INSERT' then
        update tokens_not_before set not_before = v_now where client_id = new.id and not_before < v_now;
    elsif new.enabled and not old.enabled then
        perform token_service.end_tokens_of(new.id, v_now);
    end if;
    return null;
end
$$;

comment on function token_service.end_tokens_of_withdrawn_client() is
    'Ends the tokens of a client that is disabled or deleted, those of the following 10 seconds too. When the client '
    'is enabled again, or another is made with its id, ends those issued since.';

revoke all on function token_service.end_tokens_of_withdrawn_client() from public;


create or replace function token_service.revoke_client_tokens(p_client_id text) returns timestamptz
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    -- A client that was deleted within the last day still has its row in tokens_not_before.
    if not exists (select from tokens_not_before where client_id = p_client_id) then
        perform token_service.require_client(p_client_id, p_lock => false);
    end if;
    -- The instant is not now(), which is when the transaction began: tokens issued since then end too.
    perform token_service.end_tokens_of(p_client_id, clock_timestamp());
    return (select not_before from tokens_not_before where client_id = p_client_id);
end
$$;

comment on function token_service.revoke_client_tokens(text) is
    'Ends every token that a client got until now, and returns that instant. The client may get new ones. It may be '
    'disabled, or deleted within the last day.';

revoke all on function token_service.revoke_client_tokens(text) from public;
grant execute on function token_service.revoke_client_tokens(text) to token_service_admin;


-- The server calls this. It cannot delete a revocation that still counts, because the clock is the database's and the
-- limit is small. The hour is for clocks that differ, and for the minute that verifiers forgive.
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
            using errcode = 'check_violation',
            hint = 'Call it again as long as it deletes as many as the limit: there may be more.';
    end if;

    -- The array makes sure that the rows are chosen once. A plan may run a subquery of IN again, and then it finds the
    -- next ones.
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
    'Deletes up to p_limit revocations, at most 1000, whose tokens have expired. It skips those that another replica '
    'is deleting. Returns how many; as many as p_limit means that there may be more.';

revoke all on function token_service.delete_expired(integer) from public;
grant execute on function token_service.delete_expired(integer) to token_service_app;


select token_service.ensure_trigger('client', 'client_end_tokens',
    'AFTER INSERT OR DELETE OR UPDATE ON %s '
    'FOR EACH ROW EXECUTE FUNCTION token_service.end_tokens_of_withdrawn_client()');
select token_service.ensure_trigger('client', 'client_end_tokens_truncate',
    'BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION token_service.end_tokens_of_withdrawn_client()');
-- A row of revoked_token is deleted when its token has expired, and no replica needs to learn that. Clients cause the
-- rows, not admins, so the table is not audited.
select token_service.attach_triggers('revoked_token', 'token', 'jti', null, 'INSERT OR UPDATE');
select token_service.attach_triggers('tokens_not_before', 'client', 'client_id', array['client_id']);
