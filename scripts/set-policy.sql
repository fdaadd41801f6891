-- Changes what is passed of what holds for all clients, leaves the rest, and shows it. With nothing passed it only shows it.
--
--   psql -v maximum_secret_age='180 days' -f scripts/set-policy.sql
--
--   maximum_secret_age    secrets are refused once they are older, from '1 day' to '3650 days'; '0': at any age
--   maximum_overlap       the longest that a rotation may leave old secrets alive, up to '365 days'
--   minimum_digest_cost   digests whose m (KiB) times t is less are reported as weak
--   at_once               on: also where it ends live secrets within 7 days; optional: off, which refuses that

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

-- Those that may be left out: as an SQL literal, or null.
\if :{?maximum_secret_age} \set maximum_secret_age :'maximum_secret_age' \else \set maximum_secret_age null \endif
\if :{?maximum_overlap} \set maximum_overlap :'maximum_overlap' \else \set maximum_overlap null \endif
\if :{?minimum_digest_cost} \set minimum_digest_cost :'minimum_digest_cost' \else \set minimum_digest_cost null \endif
\if :{?at_once} \else \set at_once off \endif

begin;

select token_service.set_policy(
    p_maximum_secret_age  => :maximum_secret_age,
    p_maximum_overlap     => :maximum_overlap,
    p_minimum_digest_cost => :minimum_digest_cost,
    p_at_once             => :'at_once') \g /dev/null

commit;

select coalesce(maximum_secret_age::text, 'none') as maximum_secret_age,
       maximum_overlap,
       minimum_digest_cost
from token_service.policy;
