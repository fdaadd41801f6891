-- Verifies that no row of the audit log was changed, taken out or put elsewhere; fails if one was.
--
--   psql -f scripts/audit-verify.sql
--   psql -v id=1741 -v hash=2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1 -f scripts/audit-verify.sql
--
--   id, hash   of a row noted earlier, as this script prints them; optional. They tell whether the end was cut off, or all of it written anew

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

-- Those that may be left out: as an SQL literal, or null.
\if :{?id} \set id :'id' \else \set id null \endif
\if :{?hash} \set hash :'hash' \else \set hash null \endif

-- One look at it, whatever is appended meanwhile.
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
