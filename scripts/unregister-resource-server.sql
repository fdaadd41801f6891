-- Unregisters a client for a resource: it may no longer introspect the tokens for it, and is told that each is
-- inactive. Running it again changes nothing.
--
--   psql -v client_id=invoices-api -v resource=https://api.example.com -f scripts/unregister-resource-server.sql
--
--   client_id   the client that may no longer introspect
--   resource    the resource whose tokens it introspected

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=invoices-api -v resource=https://api.example.com -f scripts/unregister-resource-server.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?resource} \else \set missing resource \ir include/missing.psql \endif

begin;
select token_service.unregister_resource_server(:'client_id', :'resource') \g /dev/null
commit;

\ir include/resource-servers.psql
