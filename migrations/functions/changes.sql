-- Triggers: when a row changes, every replica is notified, and the audit log records the change. When a credential is
-- deleted, its usage is deleted too.

-- The arguments of the trigger are the subject of the notification and the column with the id of what changed. Without
-- that column the notification has no id, and every replica assumes that anything of that subject may have changed.
create or replace function token_service.notify_change() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_subject text := tg_argv[0];
begin
    -- An update that changes nothing notifies nobody. The rows are compared as text, because values that compare as
    -- equal may differ, as 1 year and 360 days do.
    if tg_op = 'UPDATE' and old::text = new::text then
        return null;
    end if;
    if tg_op in ('UPDATE', 'DELETE') then
        perform pg_notify('token_service', concat_ws(' ', v_subject, to_jsonb(old) ->> tg_argv[1]));
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        perform pg_notify('token_service', concat_ws(' ', v_subject, to_jsonb(new) ->> tg_argv[1]));
    end if;
    if tg_op = 'TRUNCATE' then
        perform pg_notify('token_service', v_subject);
    end if;
    return null;
end
$$;

comment on function token_service.notify_change() is
    'NOTIFY token_service with the subject of a change and, where it has one, its id.';

revoke all on function token_service.notify_change() from public;


-- credential_use has credentials of every kind, so no foreign key can do this.
create or replace function token_service.forget_usage() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
declare
    v_old jsonb;
begin
    if tg_op = 'TRUNCATE' then
        delete from credential_use where kind = tg_argv[0];
    else
        v_old := to_jsonb(old);
        delete from credential_use
        where kind = tg_argv[0]
          and credential_id =
              case tg_argv[0] when 'key' then format('%s %s', v_old ->> 'client_id', v_old ->> 'kid') else v_old ->> 'id' end;
    end if;
    return null;
end
$$;

comment on function token_service.forget_usage() is
    'Deletes the usage of a credential that is deleted. The argument of the trigger is the kind of credential.';

revoke all on function token_service.forget_usage() from public;


create or replace function token_service.ensure_trigger(p_table text, p_name text, p_definition text) returns void
    language plpgsql
    set search_path = pg_catalog
as $$
declare
    v_table  regclass := format('token_service.%I', p_table);
    v_kind   text := case when p_definition like '% DEFERRABLE %' then 'CONSTRAINT TRIGGER' else 'TRIGGER' end;
    v_wanted text := format('CREATE %s %I %s', v_kind, p_name, format(p_definition, v_table));
    v_found  text := (select pg_get_triggerdef(oid) from pg_trigger where tgrelid = v_table and tgname = p_name);
begin
    -- Making a trigger locks its table, and every request that writes to it would wait. So an existing trigger stays.
    if v_found = v_wanted then
        if exists (select from pg_trigger where tgrelid = v_table and tgname = p_name and tgenabled <> 'O') then
            execute format('alter table %s enable trigger %I', v_table, p_name);
        end if;
        return;
    end if;
    if v_found is not null then
        execute format('drop trigger %I on %s', p_name, v_table);
    end if;
    execute v_wanted;
end
$$;

comment on function token_service.ensure_trigger(text, text, text) is
    'Makes a trigger, unless it exists. The definition is what pg_get_triggerdef prints after the name, with %s for '
    'the table.';

revoke all on function token_service.ensure_trigger(text, text, text) from public;


create or replace function token_service.attach_triggers(
    p_table     text,
    p_subject   text,
    p_id_column text   default null,
    p_key       text[] default null,
    p_notify_on text   default 'INSERT OR DELETE OR UPDATE'
) returns void
    language plpgsql
    set search_path = pg_catalog
as $$
declare
    v_notify text := concat_ws(', ', quote_literal(p_subject), quote_literal(p_id_column));
    v_key    text := (
        select string_agg(quote_literal(name), ', ' order by n) from unnest(p_key) with ordinality as k (name, n));
begin
    perform token_service.ensure_trigger(p_table, p_table || '_notify', format(
        'AFTER %s ON %%s FOR EACH ROW EXECUTE FUNCTION token_service.notify_change(%s)', p_notify_on, v_notify));
    if p_notify_on like '%DELETE%' then
        perform token_service.ensure_trigger(p_table, p_table || '_notify_truncate', format(
            'AFTER TRUNCATE ON %%s FOR EACH STATEMENT EXECUTE FUNCTION token_service.notify_change(%s)',
            quote_literal(p_subject)));
    end if;

    if p_key is not null then
        -- Deferred: it runs as the last thing before a commit, since it takes the one lock that every change needs.
        perform token_service.ensure_trigger(p_table, p_table || '_audit', format(
            'AFTER INSERT OR DELETE OR UPDATE ON %%s DEFERRABLE INITIALLY DEFERRED '
            'FOR EACH ROW EXECUTE FUNCTION token_service.record_change(%s)', v_key));
        perform token_service.ensure_trigger(p_table, p_table || '_audit_truncate',
            'AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION token_service.record_change()');
    end if;
end
$$;

comment on function token_service.attach_triggers(text, text, text, text[], text) is
    'Attaches the triggers that notify replicas of each change of a table, under a subject and with the id in a '
    'column; also those that audit it, if the columns of its primary key are given. A second call changes nothing.';

revoke all on function token_service.attach_triggers(text, text, text, text[], text) from public;
