-- Reports, which the admin's scripts show.

create or replace function token_service.credentials_report(
    p_client_id text     default null,
    p_idle      interval default '30 days',
    p_soon      interval default '14 days',
    p_fapi      boolean  default false
) returns table (
    client_id      text,
    kind           text,
    credential_id  text,
    label          text,
    state          text,
    made_at        timestamptz,
    ends_at        timestamptz,
    last_used_at   timestamptz,
    use_count      bigint,
    last_used_from text,
    strength       text,
    findings       text
)
    language plpgsql stable security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := token_service.instant();
begin
    perform token_service.require_idle_time(p_idle);
    if p_soon between interval '0' and interval '3650 days' is not true then
        raise exception 'The time within which credentials end soon is not 0 to 3650 days.'
            using errcode = 'check_violation', hint = 'Say something like ''14 days''.';
    end if;
    if p_client_id is not null then
        perform token_service.require_client(p_client_id, p_lock => false);
    end if;
    return query
    with credential as (
        select 'secret' as kind, s.id, s.id as used_as, s.client_id, s.label, s.created_at, s.not_before, s.revoked_at,
               least(s.revoked_at, token_service.secret_ends_at(s.created_at, s.expires_at)) as ends_at,
               format('m=%s,t=%s', cost.m[1], cost.m[2]) as strength,
               cost.m[1]::integer * cost.m[2]::integer < policy.min_digest_cost as is_weak,
               'a secret: not for FAPI' as not_for_fapi
        from client_secret s
        cross join policy
        cross join lateral regexp_match(s.digest, 'm=([0-9]+),t=([0-9]+)') as cost (m)
        union all
        select 'key', k.kid, format('%s %s', k.client_id, k.kid), k.client_id, k.label, k.created_at, k.not_before, k.revoked_at,
               least(k.revoked_at, k.expires_at),
               k.alg,
               false,
               case when k.alg in ('RS256', 'ES384') then format('%s: not for FAPI', k.alg) end
        from client_key k
    )
    select c.client_id,
           c.kind,
           c.id,
           c.label,
           life.state,
           c.created_at,
           c.ends_at,
           u.last_used_at,
           coalesce(u.use_count, 0),
           host(u.last_used_from),
           c.strength,
           concat_ws(', ',
               case
                   when life.state <> 'alive' then null
                   when i.secret_id is not null then 'safe to retire'
                   when u.last_used_at < v_now - p_idle
                       then case c.kind when 'secret' then 'idle, but the client has no newer live one' else 'idle' end
                   when u.last_used_at is null and c.created_at < policy.usage_counted_since
                       then format('not used since %s', policy.usage_counted_since::date)
                   when u.last_used_at is null then 'never used'
                   when exists (
                       select from credential newer
                       where newer.client_id = c.client_id
                         and newer.kind = c.kind
                         and newer.created_at > c.created_at
                         and newer.revoked_at is null
                   ) then 'still used'
               end,
               case when life.is_live and c.ends_at <= v_now + p_soon then 'ends soon' end,
               case when life.is_live and c.is_weak then 'digest weaker than the policy' end,
               case when life.is_live and p_fapi then c.not_for_fapi end,
               case when life.is_live and p_fapi and unbound.is_possible then 'tokens not bound: not for FAPI' end)
    from credential c
    cross join policy
    cross join lateral (
        select state, state in ('alive', 'to come') as is_live
        from (
            select case
                when c.revoked_at <= v_now then 'revoked'
                when c.ends_at <= v_now then 'expired'
                when c.not_before > v_now then 'to come'
                else 'alive'
            end as state
        ) s
    ) life
    -- The client's own constraint holds for all its tokens. Without it, a token for a resource without one is not bound.
    cross join lateral (
        select exists (
            select from client
            join client_scope cs on cs.client_id = client.id
            join resource r on r.id = cs.resource
            where client.id = c.client_id
              and client.enabled
              and client.sender_constraint is null
              and r.sender_constraint is null
        ) as is_possible
    ) unbound
    left join credential_use u on u.kind = c.kind and u.credential_id = c.used_as
    left join token_service.idle_secrets(p_idle, v_now) i on c.kind = 'secret' and i.secret_id = c.id
    where p_client_id is null
       or c.client_id = p_client_id
    order by c.client_id, c.created_at, c.kind, c.id;
end
$$;

comment on function token_service.credentials_report(text, interval, interval, boolean) is
    'The secrets and keys of one client or of all: whether each is alive, when it ends, when, how often and from where it '
    'was used, and what to do about it. p_fapi adds what the FAPI 2.0 Security Profile does not allow.';

revoke all on function token_service.credentials_report(text, interval, interval, boolean) from public;
grant execute on function token_service.credentials_report(text, interval, interval, boolean) to token_service_admin;


create or replace function token_service.clients_report(p_client_id text default null)
    returns table (
        client_id         text,
        name              text,
        enabled           boolean,
        methods           text,
        sender_constraint text,
        token_lifetime    interval,
        tokens_per_minute integer,
        extra_claims      jsonb,
        live_secrets      bigint,
        live_keys         bigint,
        scopes            text,
        default_scopes    text,
        speaks_for        text,
        last_used_at      timestamptz,
        made_at           timestamptz
    )
    language plpgsql stable security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := token_service.instant();
begin
    if p_client_id is not null then
        perform token_service.require_client(p_client_id, p_lock => false);
    end if;
    return query
    select c.id,
           c.name,
           c.enabled,
           array_to_string(c.authentication_methods, ' '),
           c.sender_constraint,
           make_interval(secs => c.token_lifetime_seconds),
           c.tokens_per_minute,
           c.extra_claims,
           s.live,
           k.live,
           cs.scopes,
           cs.defaults,
           rs.resources,
           u.last_used_at,
           c.created_at
    from client c
    cross join lateral (
        select count(*) as live
        from client_secret
        where client_id = c.id
          and not_before <= v_now
          and (least(revoked_at, token_service.secret_ends_at(created_at, expires_at)) > v_now) is not false
    ) s
    cross join lateral (
        select count(*) as live
        from client_key
        where client_id = c.id
          and not_before <= v_now
          and (least(revoked_at, expires_at) > v_now) is not false
    ) k
    cross join lateral (
        select max(last_used_at) as last_used_at
        from credential_use
        where client_id = c.id
    ) u
    cross join lateral (
        select string_agg(shown, ' ' order by shown) as scopes,
               string_agg(shown, ' ' order by shown) filter (where is_default) as defaults
        from (
            select is_default,
                   -- A name that the client holds at several resources is ambiguous without the resource.
                   case
                       when count(*) over (partition by scope) > 1 then format('%s (%s)', scope, resource)
                       else scope
                   end as shown
            from client_scope
            where client_id = c.id
        ) held
    ) cs
    cross join lateral (
        select string_agg(resource, ' ' order by resource) as resources
        from resource_server
        where client_id = c.id
    ) rs
    where p_client_id is null
       or c.id = p_client_id
    order by c.id;
end
$$;

comment on function token_service.clients_report(text) is
    'One client or all, with properties, scopes and resources. A scope whose name the client holds at several '
    'resources has the resource beside it.';

revoke all on function token_service.clients_report(text) from public;
grant execute on function token_service.clients_report(text) to token_service_admin;


create or replace function token_service.access_report(
    p_idle interval default '90 days'
)
    returns table (
        client_id    text,
        name         text,
        resource     text,
        scope        text,
        last_used_at timestamptz,
        since        timestamptz,
        finding      text
    )
    language plpgsql stable security definer
    set search_path = pg_catalog, token_service, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := token_service.instant();
begin
    perform token_service.require_idle_time(p_idle);
    return query
    with clients as (
        select c.id, c.name, c.created_at, max(u.last_used_at) as last_used_at
        from client c
        left join credential_use u on u.client_id = c.id
        where c.enabled
        group by c.id
    )
    select c.id, c.name, null::text, null::text, c.last_used_at, c.created_at, 'client is idle: disable it?'
    from clients c
    cross join policy
    where greatest(c.last_used_at, c.created_at, policy.usage_counted_since) < v_now - p_idle
    union all
    select c.id, c.name, cs.resource, cs.scope, u.last_used_at, cs.created_at, 'scope is not asked for: revoke it?'
    from clients c
    join client_scope cs on cs.client_id = c.id
    left join scope_use u on u.client_id = cs.client_id and u.resource = cs.resource and u.scope = cs.scope
    cross join policy
    where greatest(u.last_used_at, cs.created_at, policy.usage_counted_since) < v_now - p_idle
      and greatest(c.last_used_at, c.created_at) >= v_now - p_idle
    order by 1, 3 nulls first, 4;
end
$$;

comment on function token_service.access_report(interval) is
    'The enabled clients that were not used for a time, and the scopes that clients hold and did not ask for in that '
    'time.';

revoke all on function token_service.access_report(interval) from public;
grant execute on function token_service.access_report(interval) to token_service_admin;
