-- Shows what was changed, when and by whom, the newest last.
--
--   psql -v client_id=billing -v since='7 days' -f scripts/audit-log.sql
--
--   client_id   only changes that concern this client, which may be deleted; optional: all changes
--   since       how far to look back; optional: 30 days
--   max_rows    only so many of the newest changes; optional: 100

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\if :{?since} \else \set since '30 days' \endif
\if :{?max_rows} \else \set max_rows 100 \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?client_id} \set client_id :'client_id' \else \set client_id null \endif

-- The server's own changes are appended when an admin changes something, and here.
select token_service.append_pending_changes() \g /dev/null

select id,
       date_trunc('second', at) as at,
       operation,
       table_name,
       row_key,
       user_name,
       application_name,
       host(client_address) as client_address,
       before,
       after
from (
    select *
    from token_service.audit_log
    where at >= now() - :'since'::interval
      and (:client_id::text is null or client_id = :client_id)
    order by id desc
    limit :'max_rows'::integer
) newest
order by id;
