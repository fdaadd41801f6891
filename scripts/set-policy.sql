-- Shows the rules for all clients, after changing those that are passed. With nothing passed it changes nothing.
--
--   psql -v max_secret_age='180 days' -f scripts/set-policy.sql
--
--   max_secret_age    older secrets are refused, from '1 day' to '3650 days'; '0': secrets have no maximum age
--   max_overlap       the longest time for which a rotation may leave old secrets alive, up to '365 days'
--   min_digest_cost   digests whose m (KiB) times t is less are reported as weak
--   at_once           on: changes max_secret_age even if live secrets then end within 7 days; optional: off

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?max_secret_age} \set max_secret_age :'max_secret_age' \else \set max_secret_age null \endif
\if :{?max_overlap} \set max_overlap :'max_overlap' \else \set max_overlap null \endif
\if :{?min_digest_cost} \set min_digest_cost :'min_digest_cost' \else \set min_digest_cost null \endif
\if :{?at_once} \else \set at_once off \endif

begin;

select token_service.set_policy(
    p_max_secret_age  => :max_secret_age,
    p_max_overlap     => :max_overlap,
    p_min_digest_cost => :min_digest_cost,
    p_at_once         => :'at_once') \g /dev/null

commit;

select coalesce(max_secret_age::text, 'none') as max_secret_age,
       max_overlap,
       min_digest_cost
from token_service.policy;
