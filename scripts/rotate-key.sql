-- Adds a public key to a client, and ends the client's other keys after an overlap. Its secrets stay as they are.
--
--   psql -v client_id=billing -v public_jwk="$(cat key.pub.jwk)" -v overlap='24 hours' -f scripts/rotate-key.sql
--
--   client_id       the client
--   public_jwk      the public half as a JWK, as TokenService client-key new prints it. Never the private half: it would
--                   be leaked
--   overlap         how long the old keys still work, counted from not_before if that is later. '0' ends them at once;
--                   optional: 24 hours
--   kid             the kid in the header of the client's assertions; optional: that in the JWK, else the thumbprint
--   alg             ES256, ES384, PS256, RS256 or Ed25519; optional: that in the JWK, else the one of its curve. An RSA key
--                   must say
--   label           for people: where the key is kept, or what it is for; optional
--   not_before      the new key is refused before this date, such as '2027-01-31 06:00 UTC'; optional: it works at once
--   expires_at      the new key is refused from this date on; optional: never
--   newest_kid      the newest key that you know of, as show-client.sql shows it last; optional: the newest now. When two
--                   admins rotate at the same time, the later of the two is told so, and changes nothing

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v public_jwk="$(cat key.pub.jwk)" -v overlap=''24 hours'' -f scripts/rotate-key.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?public_jwk} \else \set missing public_jwk \ir include/missing.psql \endif
\if :{?overlap} \else \set overlap '24 hours' \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?kid} \set kid :'kid' \else \set kid null \endif
\if :{?alg} \set alg :'alg' \else \set alg null \endif
\if :{?label} \set label :'label' \else \set label null \endif
\if :{?not_before} \set not_before :'not_before' \else \set not_before null \endif
\if :{?expires_at} \set expires_at :'expires_at' \else \set expires_at null \endif

-- Read before the transaction begins, in which this script may have to wait for another admin.
\if :{?newest_kid}
\else
    select coalesce(token_service.newest_kid(:'client_id'), '') as newest_kid \gset
\endif

begin;

select token_service.rotate_key(
    p_client_id  => :'client_id',
    p_public_jwk => token_service.read_jwk(:'public_jwk'),
    p_kid        => :kid,
    p_alg        => :alg,
    p_overlap    => :'overlap',
    p_label      => :label,
    p_not_before => :not_before,
    p_expires_at => :expires_at,
    p_newest_kid => :'newest_kid') \g /dev/null

commit;

\set kid ''
\ir include/keys.psql
