-- Lets a client's assertions have the address of the token endpoint as aud until a date, for a library that cannot be
-- told otherwise. The aud that is right is the issuer: an assertion with another one may work at another server, too.
-- Running it again changes nothing.
--
--   psql -v client_id=billing -v until='2027-01-31 UTC' -f scripts/allow-token-endpoint-audience.sql
--
--   client_id   the client
--   until       from this date on only the issuer is accepted; at most 180 days ahead. 'none': from now on

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v until=''2027-01-31 UTC'' -f scripts/allow-token-endpoint-audience.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?until} \else \set missing until \ir include/missing.psql \endif

begin;
select token_service.allow_token_endpoint_audience(:'client_id', nullif(:'until', 'none')::timestamptz) \g /dev/null
commit;

-- All clients that may.
select id as client_id,
       name,
       date_trunc('second', token_endpoint_audience_until) as until
from token_service.client
where token_endpoint_audience_until > now()
order by id;
