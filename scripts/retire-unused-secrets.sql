-- Revokes every secret that was not used for a time and whose client has a newer one. Only shows them, unless dry_run
-- is off.
--
--   psql -v idle='30 days' -v dry_run=off -f scripts/retire-unused-secrets.sql
--
--   idle      for how long a secret was not used; optional: 30 days
--   dry_run   on or off; optional: on

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\if :{?idle} \else \set idle '30 days' \endif
\if :{?dry_run} \else \set dry_run on \endif

begin;

-- PostgreSQL reads the value, so that a value which is no boolean is an error. \if in psql would take it for off.
select :'dry_run'::boolean as dry_run \gset

select client_id,
       secret_id,
       label,
       date_trunc('second', last_used_at) as last_used_at,
       newer_secret_id
from token_service.retire_unused_secrets(:'idle', :'dry_run'::boolean);

commit;

\if :dry_run
    \echo 'This was a dry run: nothing was revoked. To revoke these secrets, pass -v dry_run=off.'
\else
    \echo 'These secrets are revoked now.'
\endif
