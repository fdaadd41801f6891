-- Disables a client: it is refused like an unknown one until it is enabled again. Its tokens are dead, as after
-- revoke-client-tokens.sql, and stay so. Tokens issued in the following 10 seconds are dead too, because a replica may
-- learn of the change up to 5 seconds late. Running it again changes nothing.
--
--   psql -v client_id=billing -f scripts/disable-client.sql
--
--   client_id   the client

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -f scripts/disable-client.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif

begin;
select token_service.set_client_enabled(:'client_id', false) \g /dev/null
commit;

\ir include/client.psql
