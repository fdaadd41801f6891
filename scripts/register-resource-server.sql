-- Lets a client speak for a resource: it may introspect the tokens for it. Running it again changes nothing.
--
--   psql -v client_id=invoices-api -v resource=https://api.example.com -f scripts/register-resource-server.sql
--
--   client_id   the client of the API, which create-client.sql makes without resource and scopes
--   resource    the resource whose tokens it may introspect; create-resource.sql makes new ones

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=invoices-api -v resource=https://api.example.com -f scripts/register-resource-server.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?resource} \else \set missing resource \ir include/missing.psql \endif

begin;
select token_service.register_resource_server(:'client_id', :'resource') \g /dev/null
commit;

\ir include/resource-servers.psql
