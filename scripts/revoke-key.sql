-- Ends a key of a client at once, such as one whose private half has leaked. Running it again changes nothing.
--
--   psql -v client_id=billing -v kid=oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U -f scripts/revoke-key.sql
--
--   client_id   the client
--   kid         the key's id, as credentials-report.sql shows it

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v kid=oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U -f scripts/revoke-key.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?kid} \else \set missing kid \ir include/missing.psql \endif

begin;
select token_service.revoke_key(:'client_id', :'kid') \g /dev/null
commit;

\ir include/keys.psql
