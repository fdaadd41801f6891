-- Withdraws a compromised signing key: it leaves the JWKS of every replica at once, its private half is destroyed, and
-- the next key signs at once. Every verifier refuses its tokens from its next look at the JWKS.
--
--   psql -v kid=-srxYPoL00wspR6G-mxfXoL8UbuG8j1GAfmjt3xoEJo -f scripts/withdraw-signing-key.sql
--
--   kid   the key's id, as the header of a token, the JWKS and TokenService keys list show it

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\if :{?kid} \else \set kid '' \endif

begin;
select token_service.withdraw_signing_key(:'kid') \g /dev/null
commit;

select kid,
       alg,
       published_at,
       signs_from,
       signs_until,
       withdrawn_at
from token_service.signing_key
where withdrawn_at is not null
   or signs_until is null
   or signs_until > now()
order by alg, signs_from;
