-- Lets a client no longer speak for a resource: asked by it, introspection calls every token for that inactive. Once more changes nothing.
--
--   psql -v client_id=invoices-api -v resource=https://api.example.com -f scripts/unregister-resource-server.sql
--
--   client_id   who asked
--   resource    about tokens for which API

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
