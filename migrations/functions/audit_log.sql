-- The audit log: what a trigger writes into it, and how its chain of hashes is verified.

create or replace function token_service.audit_hash(p_entry token_service.audit_log, p_previous bytea) returns bytea
    language sql stable
    set search_path = pg_catalog, token_service, pg_temp
    set timezone = 'UTC'
as $$
    select sha256(coalesce(p_previous, '') || convert_to(
        jsonb_build_array(
            p_entry.id, p_entry.at, p_entry.user_name, p_entry.application_name, p_entry.client_address,
            p_entry.operation, p_entry.table_name, p_entry.row_key, p_entry.client_id, p_entry.before,
            p_entry.after)::text,
        'UTF8'))
$$;

comment on function token_service.audit_hash(token_service.audit_log, bytea) is
    'The hash that an entry has after an entry with the hash p_previous.';

revoke all on function token_service.audit_hash(token_service.audit_log, bytea) from public;


create or replace function token_service.audit_image(p_row jsonb, p_other jsonb) returns jsonb
    language sql immutable
    set search_path = pg_catalog, token_service, pg_temp
as $$
    -- The log shows that a digest changed, but not the digest.
    select jsonb_object_agg(
        key, case when key in ('digest', 'sealed_private_key') and value <> 'null' then '"…"' else value end)
    from jsonb_each(p_row)
    where p_other is null
       -- As text, because values that compare as equal may differ, as 1 and 1.00 do.
       or (p_other -> key)::text is distinct from value::text
$$;

comment on function token_service.audit_image(jsonb, jsonb) is
    'A row as the audit log shows it: without secrets, and only the columns that differ from the other row.';

revoke all on function token_service.audit_image(jsonb, jsonb) from public;


create or replace function token_service.append_to_audit_log(p_entry token_service.audit_log) returns void
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_last  audit_log;
    v_entry audit_log := p_entry;
begin
    select * into v_last from audit_log order by id desc limit 1;
    v_entry.id := coalesce(v_last.id, 0) + 1;
    v_entry.hash := token_service.audit_hash(v_entry, v_last.hash);
    insert into audit_log select v_entry.*;
end
$$;

comment on function token_service.append_to_audit_log(token_service.audit_log) is
    'Appends one entry to the chain. The caller has locked the table.';

revoke all on function token_service.append_to_audit_log(token_service.audit_log) from public;


create or replace function token_service.append_pending_changes() returns void
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
    set timezone = 'UTC'
as $$
declare
    v_entry audit_log;
begin
    -- One transaction at a time may append, because the chain has one end. The lock is on the table and not an advisory
    -- one, because a user without rights on the table cannot take it.
    lock table audit_log in share row exclusive mode;
    for v_entry in
        with pending as (
            delete from audit_pending
            where id = any (array(select id from audit_pending order by id limit 10000 for update skip locked))
            returning id, entry
        )
        select (entry).* from pending order by id
    loop
        perform token_service.append_to_audit_log(v_entry);
    end loop;
end
$$;

comment on function token_service.append_pending_changes() is
    'Appends the changes that the server made to the audit log, which this locks until the end of the transaction.';

revoke all on function token_service.append_pending_changes() from public;
grant execute on function token_service.append_pending_changes() to token_service_admin;


-- The arguments of the trigger are the columns of the primary key.
create or replace function token_service.record_change() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, token_service, pg_temp
    set lock_timeout = '5s'
    set timezone = 'UTC'
    set intervalstyle = 'postgres'
as $$
declare
    v_old   jsonb := case when tg_op in ('UPDATE', 'DELETE') then to_jsonb(old) end;
    v_new   jsonb := case when tg_op in ('INSERT', 'UPDATE') then to_jsonb(new) end;
    v_row   jsonb := coalesce(v_new, v_old);
    v_entry audit_log;
begin
    if v_old::text = v_new::text then
        return null;
    end if;

    v_entry.at               := clock_timestamp();
    v_entry.user_name        := session_user;
    v_entry.application_name := current_setting('application_name');
    v_entry.client_address   := inet_client_addr();
    v_entry.operation        := tg_op;
    v_entry.table_name       := tg_table_name;
    v_entry.row_key          := (
        select string_agg(v_row ->> key, ' ' order by n) from unnest(tg_argv) with ordinality as k (key, n));
    v_entry.client_id        := coalesce(
        v_row ->> 'client_id', case when tg_table_name = 'client' then v_row ->> 'id' end);
    v_entry.before           := token_service.audit_image(v_old, v_new);
    v_entry.after            := token_service.audit_image(v_new, v_old);

    -- The session's user counts, and not a role that it has set.
    if pg_has_role(session_user, 'token_service_app', 'member')
       and not pg_has_role(session_user, 'token_service_admin', 'member') then
        insert into audit_pending (entry) values (v_entry);
        return null;
    end if;

    -- This runs as the last thing before a commit, so others wait only for a moment, unless a session says "set
    -- constraints all immediate" and then stays idle.
    perform token_service.append_pending_changes();
    v_entry.at := clock_timestamp();
    perform token_service.append_to_audit_log(v_entry);
    return null;
end
$$;

comment on function token_service.record_change() is
    'Appends a change to the audit log. A change by the server goes to audit_pending.';

revoke all on function token_service.record_change() from public;


create or replace function token_service.audit_findings(p_known_id bigint default null, p_known_hash text default null)
    returns table (id bigint, finding text)
    language sql stable security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
    select e.id,
           case when e.id <> e.previous_id + 1
               then format('rows are missing before this one: %s', e.id - e.previous_id - 1)
               else 'this row, its place or the hash of the one before was changed'
           end
    from (
        select l as entry, l.id, l.hash,
               lag(l.id, 1, 0::bigint) over chain as previous_id,
               lag(l.hash) over chain as previous_hash
        from audit_log l
        window chain as (order by l.id)
    ) e
    where e.id <> e.previous_id + 1
       or e.hash <> token_service.audit_hash(e.entry, e.previous_hash)
    union all
    -- The chain alone cannot show that its end was cut off, or that all of it was replaced. A row noted elsewhere shows
    -- it.
    select p_known_id, 'this row is not the one that was noted'
    where (p_known_id is not null or p_known_hash is not null)
      and not exists (select from audit_log l where l.id = p_known_id and encode(l.hash, 'hex') = lower(p_known_hash))
    order by 1
$$;

comment on function token_service.audit_findings(bigint, text) is
    'Returns a row for each defect in the chain of the audit log: none, if the log is whole. Compares the log with a '
    'row noted earlier, if one is given.';

revoke all on function token_service.audit_findings(bigint, text) from public;
grant execute on function token_service.audit_findings(bigint, text) to token_service_admin;
