-- Makes a new secret for a client, prints it once, and ends the client's other secrets after an overlap.
--
--   psql -v client_id=billing -v overlap='24 hours' -f scripts/rotate-secret.sql
--
--   client_id       the client
--   overlap         how long the old secrets still work, counted from not_before if that is later. '0' ends them at
--                   once; optional: 24 hours
--   label           for people: where the secret is kept, or what it is for; optional
--   not_before      the new secret is refused before this date, such as '2027-01-31 06:00 UTC'; optional: it works at
--                   once
--   expires_at      the new secret is refused from this date on; optional: never, or as the policy's max_secret_age
--                   says
--   digest, secret_id   of a secret made elsewhere; optional: the tool makes a new secret. The tool is the command
--                   in the environment variable TOKEN_SERVICE, or TokenService on the PATH

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v overlap=''24 hours'' -f scripts/rotate-secret.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?overlap} \else \set overlap '24 hours' \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?label} \set label :'label' \else \set label null \endif
\if :{?not_before} \set not_before :'not_before' \else \set not_before null \endif
\if :{?expires_at} \set expires_at :'expires_at' \else \set expires_at null \endif

-- The newest secret before this one is made. If another admin rotates at the same time, the later of the two is told
-- so, and changes nothing.
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

-- The rest only shows. The secret is printed even if the table cannot be.
\set ON_ERROR_STOP off

\ir include/secrets.psql

\if :{?secret_line}
    \echo 'The secret, shown this once:'
    \echo :secret_line
\endif
