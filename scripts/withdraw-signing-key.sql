-- Withdraws a compromised signing key: out of the JWKS at once on every replica, its private half destroyed, and the next key
-- signs at once. Its tokens are refused by every verifier from its next look at the JWKS on.
--
--   psql -v kid=-srxYPoL00wspR6G-mxfXoL8UbuG8j1GAfmjt3xoEJo -f scripts/withdraw-signing-key.sql
--
--   kid   as the header of a token, the JWKS or TokenService keys list shows it

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
