-- Makes a resource, which is an API that takes tokens. Where the resource exists, adds the scopes it lacks, and changes
-- signing_alg and max_token_lifetime if they are passed. Running it again changes nothing.
--
--   psql -v resource=https://api.example.com -v scopes='refunds:read refunds:write' -f scripts/create-resource.sql
--
--   resource      the aud of its tokens: an absolute URI, or the plain name that the API already expects
--   scopes        what clients may be granted there, separated by spaces; existing ones stay; optional
--   signing_alg   ES256, ES384, RS256 or PS256, for an API that verifies no other; 'default': the server's; optional:
--                 unchanged
--   max_token_lifetime   no token for it lives longer, even if its client has a longer one, from '1 minute' to '1 day'; 'default':
--                 there is no such limit; optional: unchanged

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v resource=https://api.example.com -v scopes=''refunds:read refunds:write'' -f scripts/create-resource.sql'
\if :{?resource} \else \set missing resource \ir include/missing.psql \endif
\if :{?scopes} \else \set scopes '' \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?signing_alg} \set signing_alg :'signing_alg' \else \set signing_alg null \endif
\if :{?max_token_lifetime} \set max_token_lifetime :'max_token_lifetime' \else \set max_token_lifetime null \endif

begin;

select token_service.create_resource(
    p_resource           => :'resource',
    p_scopes             => string_to_array(:'scopes', ' '),
    p_signing_alg        => :signing_alg,
    p_max_token_lifetime =>
        case :max_token_lifetime when 'default' then '0' else :max_token_lifetime end::interval) \g /dev/null

commit;

select r.id as resource,
       coalesce(r.signing_alg, 'default') as signing_alg,
       coalesce(make_interval(secs => r.max_token_lifetime_seconds)::text, 'default') as max_token_lifetime,
       string_agg(s.name, ' ' order by s.name) as scopes
from token_service.resource r
left join token_service.scope s on s.resource = r.id
where r.id = :'resource'
group by r.id;
