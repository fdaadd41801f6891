-- Which clients speak for an API (resource_server), what tokens for it may not outlive (resource.maximum_token_lifetime_seconds), and the
-- tokens that are dead before they expire: one by one (revoked_token), and all that a client got before an instant (tokens_not_before).
-- And a bound that client.extra_claims lacked.

alter table token_service.resource
    add column maximum_token_lifetime_seconds integer,
    add constraint resource_maximum_token_lifetime_range check (maximum_token_lifetime_seconds between 60 and 86400);

comment on column token_service.resource.maximum_token_lifetime_seconds is
    'Seconds that no token for it lives longer than, whatever its client may have; null: no such end.';


-- Readers of JSON give up at some depth, our own at 64: the client could not be read any more, nor its tokens. Where a client has deeper
-- ones this migration stops; give it others first.
alter table token_service.client
    add constraint client_extra_claims_depth check (not extra_claims @? 'strict $.**{17 to last}');

comment on column token_service.client.extra_claims is
    'Claims for its tokens beside those of RFC 9068 §2.2; at most 1024 bytes, and 16 levels.';


create table token_service.resource_server (
    client_id  text        not null,
    audience   text        not null,
    created_at timestamptz not null default now(),

    constraint resource_server_pkey primary key (client_id, audience),
    constraint resource_server_client_fkey foreign key (client_id) references token_service.client (id) on delete cascade,
    constraint resource_server_resource_fkey foreign key (audience) references token_service.resource (audience) on update cascade
);

create index resource_server_audience on token_service.resource_server (audience);

comment on table token_service.resource_server is
    'Which client speaks for which resource: it may ask what tokens for that are worth (RFC 7662 §2.1).';
comment on column token_service.resource_server.client_id is 'Who may ask.';
comment on column token_service.resource_server.audience is 'About tokens for which resource.';
comment on column token_service.resource_server.created_at is 'When it was registered.';

create trigger resource_server_notify after insert or update or delete on token_service.resource_server
    for each row execute function token_service.notify_change('client', 'client_id');
create trigger resource_server_notify_truncate after truncate on token_service.resource_server
    for each statement execute function token_service.notify_change('client');

create constraint trigger resource_server_audit after insert or update or delete on token_service.resource_server
    deferrable initially deferred for each row execute function token_service.record_change('client_id', 'audience');
create trigger resource_server_audit_truncate after truncate on token_service.resource_server
    for each statement execute function token_service.record_change();


-- Written by the service, for a client that revokes a token of its own. No foreign key: a token stays revoked when its client is deleted.
create table token_service.revoked_token (
    jti        text        not null,
    client_id  text        not null,
    expires_at timestamptz not null,
    revoked_at timestamptz not null default now(),

    constraint revoked_token_pkey primary key (jti),
    constraint revoked_token_jti_grammar check (jti ~ '^[A-Za-z0-9_-]{1,64}$')
);

create index revoked_token_expires_at on token_service.revoked_token (expires_at);
create index revoked_token_client_id_expires_at on token_service.revoked_token (client_id, expires_at);

comment on table token_service.revoked_token is 'Tokens revoked by their clients (RFC 7009), until a while after they have expired.';
comment on column token_service.revoked_token.jti is 'Which token.';
comment on column token_service.revoked_token.client_id is 'Whose it is.';
comment on column token_service.revoked_token.expires_at is 'Its exp.';
comment on column token_service.revoked_token.revoked_at is 'When it was revoked.';

-- Rows that are deleted have expired, which nobody needs to be told.
create trigger revoked_token_notify after insert or update on token_service.revoked_token
    for each row execute function token_service.notify_change('token', 'jti');


-- No foreign key, here neither: who deletes a client and makes it anew does not bring its old tokens back to life.
create table token_service.tokens_not_before (
    client_id  text        not null,
    not_before timestamptz not null,

    constraint tokens_not_before_pkey primary key (client_id),
    constraint tokens_not_before_representable check (not_before between '1900-01-01Z' and '9000-01-01Z')
);

create index tokens_not_before_not_before on token_service.tokens_not_before (not_before);

comment on table token_service.tokens_not_before is
    'Clients whose tokens up to an instant are dead, until a while after the longest of them would have expired.';
comment on column token_service.tokens_not_before.client_id is 'Whose tokens.';
comment on column token_service.tokens_not_before.not_before is 'Those issued up to this instant.';

create trigger tokens_not_before_notify after insert or update or delete on token_service.tokens_not_before
    for each row execute function token_service.notify_change('client', 'client_id');
create trigger tokens_not_before_notify_truncate after truncate on token_service.tokens_not_before
    for each statement execute function token_service.notify_change('client');

create constraint trigger tokens_not_before_audit after insert or update or delete on token_service.tokens_not_before
    deferrable initially deferred for each row execute function token_service.record_change('client_id');
create trigger tokens_not_before_audit_truncate after truncate on token_service.tokens_not_before
    for each statement execute function token_service.record_change();


create function token_service.end_tokens_of(p_client_id text, p_until timestamptz) returns void
    language sql
    set search_path = pg_catalog, token_service, pg_temp
as $$
    insert into tokens_not_before as t (client_id, not_before)
    values (p_client_id, p_until)
    on conflict (client_id) do update
        set not_before = greatest(t.not_before, excluded.not_before)
$$;

comment on function token_service.end_tokens_of(text, timestamptz) is 'Makes every token that a client got up to an instant dead.';

-- So that an API which verifies offline hears of it too, and nothing comes back to life with the client.
create function token_service.end_tokens_of_withdrawn_client() returns trigger
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

create trigger client_end_tokens after insert or update or delete on token_service.client
    for each row execute function token_service.end_tokens_of_withdrawn_client();
create trigger client_end_tokens_truncate before truncate on token_service.client
    for each statement execute function token_service.end_tokens_of_withdrawn_client();


-- By the database's clock and so many at once, whoever asks: the service may call it, and no living revocation may go. The hour is for
-- clocks that differ and tokens that verifiers forgive a minute.
create function token_service.delete_expired(p_limit integer) returns integer
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


grant select on token_service.resource_server, token_service.tokens_not_before to token_service_app;
grant select, insert on token_service.revoked_token to token_service_app;
grant select on token_service.resource_server, token_service.tokens_not_before, token_service.revoked_token to token_service_admin;

revoke execute on all functions in schema token_service from public;
grant execute on function token_service.delete_expired(integer) to token_service_app;
