-- Lists the clients.
--
--   psql -f scripts/list-clients.sql

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

select client_id,
       name,
       enabled,
       live_secrets,
       live_keys,
       sender_constraint,
       scopes,
       date_trunc('second', last_used_at) as last_used_at
from token_service.clients_report();
