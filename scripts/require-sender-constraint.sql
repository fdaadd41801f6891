-- Requires that tokens are bound to a key of the caller, so that a stolen token is of no use without that key (DPoP, RFC
-- 9449). Running clients that send no proof get no token from then on; tokens that were issued stay as they are. Running
-- it again changes nothing.
--
--   psql -v resource=https://api.example.com -v constraint=dpop -f scripts/require-sender-constraint.sql
--   psql -v client_id=billing -v constraint=dpop -f scripts/require-sender-constraint.sql
--
--   client_id    all tokens of this client, for every API; or
--   resource     all tokens for this API, of every client. What the client and the API require is both obeyed
--   constraint   dpop; 'none' removes the requirement

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v constraint=dpop -f scripts/require-sender-constraint.sql'
\if :{?constraint} \else \set missing constraint \ir include/missing.psql \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?client_id} \set client_id :'client_id' \else \set client_id null \endif
\if :{?resource} \set resource :'resource' \else \set resource null \endif

begin;
select token_service.require_sender_constraint(:client_id, :resource, :'constraint') \g /dev/null
commit;

-- The client with the APIs for which it can get tokens, or the API with the clients that can get tokens for it.
select c.id as client_id,
       c.sender_constraint as by_client,
       r.id as resource,
       r.sender_constraint as by_resource
from (select distinct client_id, resource from token_service.client_scope) cs
full join token_service.client c on c.id = cs.client_id
full join token_service.resource r on r.id = cs.resource
where c.id = :client_id
   or r.id = :resource
order by c.id, r.id;
