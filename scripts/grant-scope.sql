-- Lets a client ask for a scope. Running it again changes at most whether the scope is a default.
--
--   psql -v client_id=billing -v scope=refunds:read -v default=on -f scripts/grant-scope.sql
--
--   client_id   the client
--   scope       the scope's name; create-resource.sql makes new ones
--   resource    the resource to which the scope belongs; optional where only one resource has a scope of that name
--   default     on or off: whether a request that names no scope gets it; optional: unchanged, and off for a new grant

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v scope=refunds:read -v default=on -f scripts/grant-scope.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?scope} \else \set missing scope \ir include/missing.psql \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?resource} \set resource :'resource' \else \set resource null \endif
\if :{?default} \set default :'default' \else \set default null \endif

begin;
select token_service.grant_scope(:'client_id', :'scope', :default, :resource) \g /dev/null
commit;

\ir include/client.psql
