-- Disables a client: it is refused like an unknown one, until it is enabled again. Tokens it has are dead, as by revoke-client-tokens.sql,
-- and stay so; so are those that a replica which has not heard of it yet issues within the next 10 seconds. Once more changes nothing.
--
--   psql -v client_id=billing -f scripts/disable-client.sql
--
--   client_id   which client

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -f scripts/disable-client.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif

begin;
select token_service.set_client_enabled(:'client_id', false) \g /dev/null
commit;

\ir include/client.psql
