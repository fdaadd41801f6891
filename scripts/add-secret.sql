-- Makes one more secret for a client and prints it once. The client's other secrets stay as they are.
--
--   psql -v client_id=billing -v label='second data centre' -f scripts/add-secret.sql
--
--   client_id       the client
--   label           for people: where the secret is kept, or what it is for; optional
--   not_before      the secret is refused before this date, such as '2027-01-31 06:00 UTC'; optional: it works at once
--   expires_at      the secret is refused from this date on; optional: never, or as the policy's max_secret_age says
--   digest, secret_id   of a secret made elsewhere; optional: the tool makes a new secret. The tool is the command
--                   in the environment variable TOKEN_SERVICE, or TokenService on the PATH

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v label=''second data centre'' -f scripts/add-secret.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?label} \set label :'label' \else \set label null \endif
\if :{?not_before} \set not_before :'not_before' \else \set not_before null \endif
\if :{?expires_at} \set expires_at :'expires_at' \else \set expires_at null \endif

\ir include/new-secret.psql

begin;

select token_service.add_secret(
    p_client_id  => :'client_id',
    p_secret_id  => nullif(:'secret_id', ''),
    p_digest     => nullif(:'digest', ''),
    p_label      => :label,
    p_not_before => :not_before,
    p_expires_at => :expires_at) \g /dev/null

commit;

-- The rest only shows. The secret is printed even if the table cannot be.
\set ON_ERROR_STOP off

\ir include/secrets.psql

\if :{?secret_line}
    \echo 'The secret, shown this once:'
    \echo :secret_line
\endif
