-- Makes every token that a client got before now dead: on every replica's introspection within a second, and at APIs that verify offline
-- beside the list of revoked tokens with their next look at it.
--
-- What it does not do: an API that verifies offline without that list takes the tokens until they expire, which may be as long as the
-- client's token lifetime. And it ends no secret: who has one gets a new token, so end a leaked one first, with rotate-secret.sql,
-- revoke-secret.sql or disable-client.sql. Once more ends those that the client got in between.
--
-- "Now" is by the database's clock, and when a token was issued (its iat) by that of the replica which did: keep all machines to the same
-- time (NTP). Of a replica whose clock is n seconds ahead, tokens of the last n seconds live on: run this again n seconds later. One whose
-- clock is n seconds behind gives the client no token for n seconds, but 503 with Retry-After.
--
--   psql -v client_id=billing -f scripts/revoke-client-tokens.sql
--
--   client_id   whose tokens; it may be disabled, or deleted within the last day

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -f scripts/revoke-client-tokens.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif

begin;
select token_service.revoke_client_tokens(:'client_id') \g /dev/null
commit;

select client_id,
       date_trunc('second', not_before) as tokens_dead_up_to
from token_service.tokens_not_before
where client_id = :'client_id';

\echo 'An API that verifies offline, without the list of revoked tokens, takes them until they expire.'
