-- Lists what could be taken away: enabled clients that were not used for a time, and scopes that their clients did not
-- ask for in that time.
--
--   psql -v idle='90 days' -f scripts/access-report.sql
--
--   idle   for how long something was not used; optional: 90 days

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
