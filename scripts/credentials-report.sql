-- Shows whether each secret and each key of a client is alive, how much it is used, and what to do: retire it, rotate it
-- before it ends, or replace a digest that is weaker than the policy.
--
--   psql -v client_id=billing -f scripts/credentials-report.sql
--
--   client_id   only the credentials of this client; optional: those of all clients
--   idle        how long a credential must be unused to be idle, and a secret to be safe to retire; optional: 30 days
--   soon        within what time a credential ends soon; optional: 14 days
--   all         on: also revoked and expired credentials; optional: off
--   fapi        on: also what the FAPI 2.0 Security Profile does not allow: secrets, RS256, ES384, and clients that can
--               get a token that is not bound to a key; optional: off

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\if :{?idle} \else \set idle '30 days' \endif
\if :{?soon} \else \set soon '14 days' \endif
\if :{?all} \else \set all off \endif
\if :{?fapi} \else \set fapi off \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?client_id} \set client_id :'client_id' \else \set client_id null \endif

select client_id,
       kind,
       credential_id,
       label,
       state,
       date_trunc('second', made_at) as made_at,
       date_trunc('second', ends_at) as ends_at,
       date_trunc('second', last_used_at) as last_used_at,
       use_count,
       last_used_from,
       strength,
       findings
from token_service.credentials_report(:client_id, :'idle', :'soon', :'fapi')
where :'all'::boolean
   or state in ('alive', 'to come');
