-- Takes a scope from a client. Introspection refuses the tokens that have the scope; an API that verifies offline takes
-- them until they expire. Running it again changes nothing.
--
--   psql -v client_id=billing -v scope=refunds:read -f scripts/revoke-scope.sql
--
--   client_id   the client
--   scope       the scope's name
--   resource    the resource to which the scope belongs; optional where the client holds only one scope of that name

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v scope=refunds:read -f scripts/revoke-scope.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?scope} \else \set missing scope \ir include/missing.psql \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?resource} \set resource :'resource' \else \set resource null \endif

begin;
select token_service.revoke_scope(:'client_id', :'scope', :resource) \g /dev/null
commit;

\ir include/client.psql
