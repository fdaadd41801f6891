-- Ends a secret at once, such as one that has leaked. Running it again changes nothing.
--
--   psql -v client_id=billing -v secret_id=0uEMDVA3bCRk -f scripts/revoke-secret.sql
--
--   client_id   the client
--   secret_id   the secret's id, as credentials-report.sql shows it. It also stands between the first and the second '_'
--               of the secret

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v secret_id=0uEMDVA3bCRk -f scripts/revoke-secret.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?secret_id} \else \set missing secret_id \ir include/missing.psql \endif

begin;
select token_service.revoke_secret(:'client_id', :'secret_id') \g /dev/null
commit;

\ir include/secrets.psql
