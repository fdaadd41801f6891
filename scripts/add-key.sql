-- Adds a public key to a client, which then signs its assertions with the private half (private_key_jwt, RFC 7523). The
-- client's other keys and its secrets stay as they are.
--
--   psql -v client_id=billing -v public_jwk="$(cat key.pub.jwk)" -v label='second data centre' -f scripts/add-key.sql
--
--   client_id       the client
--   public_jwk      the public half as a JWK, as TokenService client-key new prints it. Never the private half: it would
--                   be leaked
--   kid             the kid in the header of the client's assertions; optional: that in the JWK, else the thumbprint
--   alg             ES256, ES384, PS256, RS256 or Ed25519; optional: that in the JWK, else the one of its curve. An RSA key
--                   must say
--   label           for people: where the key is kept, or what it is for; optional
--   not_before      the key is refused before this date, such as '2027-01-31 06:00 UTC'; optional: it works at once
--   expires_at      the key is refused from this date on; optional: never

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v public_jwk="$(cat key.pub.jwk)" -v label=''second data centre'' -f scripts/add-key.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?public_jwk} \else \set missing public_jwk \ir include/missing.psql \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?kid} \set kid :'kid' \else \set kid null \endif
\if :{?alg} \set alg :'alg' \else \set alg null \endif
\if :{?label} \set label :'label' \else \set label null \endif
\if :{?not_before} \set not_before :'not_before' \else \set not_before null \endif
\if :{?expires_at} \set expires_at :'expires_at' \else \set expires_at null \endif

begin;

select token_service.add_key(
    p_client_id  => :'client_id',
    p_public_jwk => token_service.read_jwk(:'public_jwk'),
    p_kid        => :kid,
    p_alg        => :alg,
    p_label      => :label,
    p_not_before => :not_before,
    p_expires_at => :expires_at) \g /dev/null

commit;

\set kid ''
\ir include/keys.psql
