-- Takes a scope from a client. Tokens that have it are dead where APIs ask, and good until they expire where
-- APIs verify offline. Once more changes nothing.
--
--   psql -v client_id=billing -v scope=refunds:read -f scripts/revoke-scope.sql
--
--   client_id   who asked
--   scope       for what

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v scope=refunds:read -f scripts/revoke-scope.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?scope} \else \set missing scope \ir include/missing.psql \endif

-- As an SQL literal, or null.
\if :{?resource} \set resource :'resource' \else \set resource null \endif

begin;
select token_service.revoke_scope(:'client_id', :'scope', :resource) \g /dev/null
commit;

\ir include/client.psql
