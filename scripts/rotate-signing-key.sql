-- Lets the next signing key sign as soon as every verifier has it, instead of at its planned date.
--
--   psql -f scripts/rotate-signing-key.sql
--   psql -v alg=RS256 -f scripts/rotate-signing-key.sql
--
--   alg   the algorithm whose next key is to sign; optional: each algorithm that has a key

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\if :{?alg} \else \set alg '' \endif

begin;
select * from token_service.rotate_signing_key(nullif(:'alg', ''));
commit;
