-- Verifies that no row of the audit log was changed, removed or moved. Fails if one was.
--
--   psql -f scripts/audit-verify.sql
--   psql -v id=1741 -v hash=2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1 -f scripts/audit-verify.sql
--
--   id, hash   a row noted earlier, as this script prints it; optional. They show whether the end of the log was cut
--              off, or all of it replaced

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v id=1741 -v hash=2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1 -f scripts/audit-verify.sql'
\if :{?id}
    \if :{?hash} \else \set missing hash \ir include/missing.psql \endif
\elif :{?hash}
    \set missing id
    \ir include/missing.psql
\endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?id} \set id :'id' \else \set id null \endif
\if :{?hash} \set hash :'hash' \else \set hash null \endif

-- The server's own changes are appended when an admin changes something, and here.
select token_service.append_pending_changes() \g /dev/null

-- One snapshot for both queries, so that a row that is appended meanwhile appears in neither.
begin isolation level repeatable read read only;

select id, finding
from token_service.audit_findings(:id, :hash);
select :ROW_COUNT > 0 as broken \gset

select count(*) as rows,
       max(id) as id,
       encode((array_agg(hash order by id desc))[1], 'hex') as hash
from token_service.audit_log;

commit;

\if :broken
    do $$
    begin
        raise exception 'The audit log is not as it was written.'
            using hint = 'The findings stand above. Keep this database as it is, and compare the log with a backup.';
    end
    $$;
\endif
\echo 'The audit log is whole. Keep the id and hash elsewhere, and pass them with -v id=… -v hash=… the next time.'
