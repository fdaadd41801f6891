-- Ends every token that a client got before now. Introspection on every replica refuses these tokens within a second,
-- and an API that verifies offline beside the list of revoked tokens refuses them from its next look at the list.
--
-- An API that verifies offline without the list takes the tokens until they expire, which may be as long as the
-- client's token lifetime. The client's secrets stay alive, and a thief who has one gets a new token. So end a leaked
-- secret first, with rotate-secret.sql, revoke-secret.sql or disable-client.sql. Running this again ends the tokens
-- that the client got in between.
--
-- "Now" is by the database's clock, and when a token was issued (its iat) is by the clock of its replica: keep all
-- machines at the same time (NTP). Where a replica's clock is n seconds ahead, its tokens of the last n seconds live
-- on: run this again n seconds later. Where it is n seconds behind, the replica answers the client 503 with Retry-After
-- for n seconds.
--
--   psql -v client_id=billing -f scripts/revoke-client-tokens.sql
--
--   client_id   the client; it may be disabled, or deleted within the last day

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

\echo 'An API that verifies offline, without the list of revoked tokens, takes these tokens until they expire.'
