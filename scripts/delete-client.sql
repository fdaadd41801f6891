-- Deletes a disabled client with its secrets, its keys, its grants and its registrations. The audit log keeps what they
-- were. A new client may have its client_id, which brings no token back: for 10 seconds after the deletion the new
-- client's requests for a token are answered 503, with Retry-After.
--
--   psql -v client_id=billing -f scripts/delete-client.sql
--
--   client_id   the client; disable it first, and delete it when nobody has missed it

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -f scripts/delete-client.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif

begin;
select coalesce(max(id), 0) as audited from token_service.audit_log \gset
select token_service.delete_client(:'client_id') \g /dev/null
commit;

select id as audit_id,
       date_trunc('second', at) as at,
       operation,
       table_name,
       row_key
from token_service.audit_log
where client_id = :'client_id'
  and id > :audited
order by id;
