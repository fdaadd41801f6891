-- Shows a client: its properties, its scopes with their usage, and its secrets and keys.
--
--   psql -v client_id=billing -f scripts/show-client.sql
--
--   client_id   the client

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -f scripts/show-client.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif

begin isolation level repeatable read read only;

\ir include/client.psql

select cs.scope,
       cs.resource,
       cs.is_default,
       date_trunc('second', cs.created_at) as granted_at,
       date_trunc('second', u.last_used_at) as last_used_at,
       coalesce(u.use_count, 0) as use_count
from token_service.client_scope cs
left join token_service.scope_use u
    on u.client_id = cs.client_id and u.resource = cs.resource and u.scope = cs.scope
where cs.client_id = :'client_id'
order by cs.resource, cs.scope;

select kind,
       credential_id,
       label,
       state,
       date_trunc('second', made_at) as made_at,
       date_trunc('second', ends_at) as ends_at,
       date_trunc('second', last_used_at) as last_used_at,
       findings
from token_service.credentials_report(:'client_id')
where state in ('alive', 'to come');

commit;
