-- Lists who holds more than they use: enabled clients that have been idle, and scopes that were not asked for.
--
--   psql -v idle='90 days' -f scripts/access-report.sql
--
--   idle   for how long; optional: 90 days

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\if :{?idle} \else \set idle '90 days' \endif

select client_id,
       name,
       resource,
       scope,
       date_trunc('second', last_used_at) as last_used_at,
       date_trunc('second', since) as since,
       finding
from token_service.access_report(:'idle');
