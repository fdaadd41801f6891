-- Lets a client ask for a scope. Once more changes at most whether the scope is one of its defaults.
--
--   psql -v client_id=billing -v scope=refunds:read -v default=on -f scripts/grant-scope.sql
--
--   client_id   who may ask
--   scope       for what; create-resource.sql makes new ones
--   default     on or off: whether a request that names no scope gets it; optional: as it is, which is off at first

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v scope=refunds:read -v default=on -f scripts/grant-scope.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?scope} \else \set missing scope \ir include/missing.psql \endif

-- As an SQL literal, or null.
\if :{?resource} \set resource :'resource' \else \set resource null \endif
\if :{?default} \set default :'default' \else \set default null \endif

begin;
select token_service.grant_scope(:'client_id', :'scope', :default, :resource) \g /dev/null
commit;

\ir include/client.psql
