-- Makes a new secret for a client, prints it once, and ends the client's other secrets after an overlap.
--
--   psql -v client_id=billing -v overlap='24 hours' -f scripts/rotate-secret.sql
--
--   client_id       whose secret
--   overlap         how long the old secrets still work, counted from not_before if that is later; optional: 24 hours. '0' ends them at once
--   label           for people: where the secret is kept, or what it is for; optional
--   not_before      refused before this date, such as '2027-01-31 06:00 UTC'; optional: works at once
--   expires_at      refused from this date on; optional: never, or as the policy's max_secret_age has it
--   digest, secret_id   of a secret made elsewhere; optional: a fresh secret is made by the tool, which is the command
--                   in the environment variable TOKEN_SERVICE, or TokenService on the PATH

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v overlap=''24 hours'' -f scripts/rotate-secret.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?overlap} \else \set overlap '24 hours' \endif

-- Those that may be left out: as an SQL literal, or null.
\if :{?label} \set label :'label' \else \set label null \endif
\if :{?not_before} \set not_before :'not_before' \else \set not_before null \endif
\if :{?expires_at} \set expires_at :'expires_at' \else \set expires_at null \endif

-- As it is before the secret is made: of two admins who rotate at once, the second is told so, and nothing changes.
select coalesce(token_service.newest_secret_id(:'client_id'), '') as newest_secret_id \gset

\ir include/new-secret.psql

begin;

select token_service.rotate_secret(
    p_client_id        => :'client_id',
    p_secret_id        => nullif(:'secret_id', ''),
    p_digest           => nullif(:'digest', ''),
    p_overlap          => :'overlap',
    p_label            => :label,
    p_not_before       => :not_before,
    p_expires_at       => :expires_at,
    p_newest_secret_id => :'newest_secret_id') \g /dev/null

commit;

-- The rest only shows, and the secret is to be shown whatever becomes of the table.
\set ON_ERROR_STOP off

\ir include/secrets.psql

\if :{?secret_line}
    \echo 'The secret, shown this once:'
    \echo :secret_line
\endif
