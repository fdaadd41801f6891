-- Enables a client that was disabled. Tokens that were issued before it was disabled stay dead. If it is enabled within
-- 10 seconds of being disabled, its requests for a token get 503 with Retry-After until the 10 seconds are over. Running
-- the script again changes nothing.
--
--   psql -v client_id=billing -f scripts/enable-client.sql
--
--   client_id   the client

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -f scripts/enable-client.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif

begin;
select token_service.set_client_enabled(:'client_id', true) \g /dev/null
commit;

\ir include/client.psql
