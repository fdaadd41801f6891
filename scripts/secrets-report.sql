-- Shows whether each secret is alive, how much it is used, and what to do: retire it, rotate it before it ends, or
-- replace a digest that is weaker than the policy.
--
--   psql -v client_id=billing -f scripts/secrets-report.sql
--
--   client_id   only the secrets of this client; optional: all secrets
--   idle        how long a secret must be unused to be safe to retire; optional: 30 days
--   soon        within what time a secret ends soon; optional: 14 days
--   all         on: also revoked and expired secrets; optional: off

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\if :{?idle} \else \set idle '30 days' \endif
\if :{?soon} \else \set soon '14 days' \endif
\if :{?all} \else \set all off \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?client_id} \set client_id :'client_id' \else \set client_id null \endif

select client_id,
       secret_id,
       label,
       state,
       date_trunc('second', made_at) as made_at,
       date_trunc('second', ends_at) as ends_at,
       date_trunc('second', last_used_at) as last_used_at,
       use_count,
       last_used_from,
       digest_cost,
       findings
from token_service.secrets_report(:client_id, :'idle', :'soon')
where :'all'::boolean
   or state in ('alive', 'to come');
