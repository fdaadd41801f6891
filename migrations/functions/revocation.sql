-- Tokens that are dead before they expire.

create or replace function token_service.end_tokens_of(p_client_id text, p_until timestamptz) returns void
    language sql
    set search_path = pg_catalog, token_service, pg_temp
as $$
    insert into tokens_not_before as t (client_id, not_before)
    values (p_client_id, p_until)
    on conflict (client_id) do update
        set not_before = greatest(t.not_before, excluded.not_before);

    -- The server must not delete these rows: its open transaction could keep an admin from ending tokens.
    delete from tokens_not_before
    where client_id = any (array(
        select client_id
        from tokens_not_before
        where not_before < now() - interval '25 hours' -- no token lives longer than a day
          and client_id <> p_client_id
        order by not_before
        limit 100
        for update skip locked
    ))
$$;

comment on function token_service.end_tokens_of(text, timestamptz) is
    'Ends every token that a client got up to an instant. Deletes some rows whose tokens have expired.';

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
    set lock_timeout = '5s'
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


-- The server calls this. The limits bound the list of revoked tokens, because common verifiers read 250 KB of it and no
-- more. A token takes its jti and 3 characters in the list, a client its id and 14: no character of an id is escaped in
-- JSON.
create or replace function token_service.revoke_token(
    p_jti        text,
    p_client_id  text,
    p_issued_at  timestamptz,
    p_expires_at timestamptz
) returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    -- The list has a token until 10 minutes after it expired, for verifiers whose clocks are behind.
    v_listed_since  timestamptz := now() - interval '10 minutes';
    -- A client is in the list for as long as a token issued up to its instant may be.
    v_issued_since  timestamptz := v_listed_since - make_interval(secs => coalesce(
        (select max(max_token_lifetime_seconds) from signing_key where gone_after is null or gone_after > now()), 86400));
    -- Dates in the far future would have effect for ever. No token lives longer than a day, but the clock of a replica
    -- may be wrong by days.
    v_issued_at     timestamptz := least(p_issued_at, clock_timestamp() + interval '5 minutes');
    v_expires_at    timestamptz := least(p_expires_at, clock_timestamp() + interval '7 days');
    v_own_tokens    integer;
    v_token_length  integer;
    v_client_length integer;
begin
    if not exists (select from client where id = p_client_id) then
        return false;
    end if;
    if exists (select from revoked_token where jti = p_jti)
       or exists (select from client_not_before where client_id = p_client_id and not_before >= p_issued_at) then
        return true;
    end if;

    select count(*) into v_own_tokens
    from revoked_token
    where client_id = p_client_id
      and expires_at > v_listed_since;
    select coalesce(sum(octet_length(jti) + 3), 0) into v_token_length
    from revoked_token
    where expires_at > v_listed_since;
    if v_own_tokens < 200 and v_token_length < 60000 then
        insert into revoked_token (jti, client_id, expires_at)
        values (p_jti, p_client_id, v_expires_at)
        on conflict (jti) do nothing;
        return true;
    end if;

    -- All tokens of the client up to now take one line. The client can get new ones.
    select coalesce(sum(octet_length(client_id) + 14), 0) into v_client_length
    from client_not_before
    where not_before > v_issued_since
      and client_id <> p_client_id;
    if v_client_length + octet_length(p_client_id) + 14 > 30000 then
        return false;
    end if;
    insert into self_revocation as s (client_id, not_before)
    values (p_client_id, greatest(v_issued_at, clock_timestamp()))
    on conflict (client_id) do update
        set not_before = greatest(s.not_before, excluded.not_before);
    return true;
end
$$;

comment on function token_service.revoke_token(text, text, timestamptz, timestamptz) is
    'Revokes a token of a client. Where the client has 200 revoked tokens, or the list of revoked tokens has no room for '
    'more, revokes all tokens that it got until now. False: the list has no room for that either, or there is no such '
    'client, and nothing is revoked.';

revoke all on function token_service.revoke_token(text, text, timestamptz, timestamptz) from public;
grant execute on function token_service.revoke_token(text, text, timestamptz, timestamptz) to token_service_app;


-- The server calls this. It cannot delete a revocation that still counts, because the clock is the database's and the
-- limit is small. The hour is for clocks that differ, and for the minute that verifiers forgive.
create or replace function token_service.delete_expired(p_limit integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_tokens  integer;
    v_clients integer;
    v_secrets integer;
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

    delete from self_revocation
    where client_id = any (array(
        select client_id
        from self_revocation
        where not_before < now() - interval '25 hours' -- no token lives longer than a day
        order by not_before
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_clients = row_count;

    delete from verified_secret
    where secret_id = any (array(
        select v.secret_id
        from verified_secret v
        join client_secret s on s.id = v.secret_id
        where token_service.secret_ends_at(s.created_at, s.expires_at) < now() - interval '1 hour'
        limit p_limit
        for update of v skip locked
    ));
    get diagnostics v_secrets = row_count;
    return greatest(v_tokens, v_clients, v_secrets);
end
$$;

comment on function token_service.delete_expired(integer) is
    'Deletes up to p_limit revocations, at most 1000, whose tokens have expired, and MACs of secrets that have ended. It '
    'skips those that another replica is deleting. Returns how many; as many as p_limit means that there may be more.';

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
select token_service.attach_triggers('self_revocation', 'client', 'client_id');
select token_service.attach_triggers('tokens_not_before', 'client', 'client_id', array['client_id']);
