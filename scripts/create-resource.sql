-- Makes a resource, which is an API that takes tokens. Where the resource exists, adds the scopes it lacks, and changes
-- signing_alg, typ and max_token_lifetime if they are passed. Running it again changes nothing.
--
-- Tokens for the resource are never signed with another algorithm than its own. A running server publishes the first key
-- of an algorithm within seconds; the key signs when every verifier has it, which is Keys:JwksMaxAge and 12 minutes
-- later, and until then /token answers 503 for this resource. The script says so, and from when tokens come.
--
--   psql -v resource=https://api.example.com -v scopes='refunds:read refunds:write' -f scripts/create-resource.sql
--
--   resource      the aud of its tokens: an absolute URI, or the plain name that the API already expects
--   scopes        what clients may be granted there, separated by spaces; existing ones stay; optional
--   signing_alg   ES256, ES384, RS256 or PS256, for an API that verifies no other; 'default': the server's; optional:
--                 unchanged
--   typ           at+jwt, or JWT for an API that refuses at+jwt and then cannot tell a token from another JWT by its type;
--                 set it once every replica runs a build that has it; optional: unchanged, at+jwt for a new resource
--   max_token_lifetime   no token for it lives longer, even if its client has a longer one, from '1 minute' to '1 day'; 'default':
--                 there is no such limit; optional: unchanged
--   at_once       on: changes signing_alg even if no key of it signs yet, so that clients get 503; optional: off

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v resource=https://api.example.com -v scopes=''refunds:read refunds:write'' -f scripts/create-resource.sql'
\if :{?resource} \else \set missing resource \ir include/missing.psql \endif
\if :{?scopes} \else \set scopes '' \endif
\if :{?at_once} \else \set at_once off \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?signing_alg} \set signing_alg :'signing_alg' \else \set signing_alg null \endif
\if :{?max_token_lifetime} \set max_token_lifetime :'max_token_lifetime' \else \set max_token_lifetime null \endif
\if :{?typ} \set typ :'typ' \else \set typ null \endif

begin;

select token_service.create_resource(
    p_resource           => :'resource',
    p_scopes             => string_to_array(:'scopes', ' '),
    p_signing_alg        => :signing_alg,
    p_max_token_lifetime =>
        case :max_token_lifetime when 'default' then '0' else :max_token_lifetime end::interval,
    p_typ                => :typ,
    p_at_once            => :'at_once') \g /dev/null

commit;

select r.id as resource,
       coalesce(r.signing_alg, 'default') as signing_alg,
       r.typ,
       coalesce(make_interval(secs => r.max_token_lifetime_seconds)::text, 'default') as max_token_lifetime,
       string_agg(s.name, ' ' order by s.name) as scopes
from token_service.resource r
left join token_service.scope s on s.resource = r.id
where r.id = :'resource'
group by r.id;

-- Before the first start of a server there is no key at all, and at that start the first key of each algorithm signs at
-- once.
select r.signing_alg as alg,
       date_trunc('second', k.signs_from) as signs_from,
       k.signs_from is null as has_no_key,
       r.signing_alg is not null
           and (k.signs_from <= now()) is not true
           and exists (select kid from token_service.signing_key) as is_waiting
from token_service.resource r
cross join token_service.algorithm_signs_from(r.signing_alg) as k (signs_from)
where r.id = :'resource' \gset

\if :is_waiting
    \if :has_no_key
        \echo 'No' :alg 'key signs yet: until one does, /token answers 503 for this resource. A running server publishes the key'
        \echo 'within seconds, and it signs Keys:JwksMaxAge and 12 minutes later. Run this again to see from when.'
    \else
        \echo 'Until' :signs_from 'no' :alg 'key signs, and /token answers 503 for this resource.'
    \endif
\endif
