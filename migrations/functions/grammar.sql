-- An Argon2id digest as this server makes and verifies it: version 1.3, a 16-byte salt, a 32-byte hash, one lane,
-- and a cost that bounds the memory and time one verification can take.
create or replace function token_service.is_argon2id_digest(digest text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select coalesce(
        (select m[1]::integer between 8192 and 65536 and m[2]::integer between 1 and 10
         from regexp_match(digest,
             '^\$argon2id\$v=19\$m=([1-9][0-9]{3,4}),t=([1-9][0-9]?),p=1\$[A-Za-z0-9+/]{21}[AQgw]\$[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$') as m),
        false)
$$;

comment on function token_service.is_argon2id_digest(text) is
    'True for a PHC string of Argon2id 1.3 with m 8192..65536 KiB, t 1..10, p 1, a 16-byte salt and a 32-byte hash.';

revoke all on function token_service.is_argon2id_digest(text) from public;


-- The claims we set, those of RFC 7519 §4.1, and those from which an API concludes who a person is or what they may do: a client
-- must not be able to pass for one (RFC 9700 §4.15).
create or replace function token_service.reserved_claims() returns text[]
    language sql immutable parallel safe
    set search_path = pg_catalog
as $$
    select array[
        'iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'scope', 'scp', 'cnf', 'act', 'may_act', 'azp', 'typ',
        'nonce', 'at_hash', 'c_hash', 'auth_time', 'acr', 'amr', 'sid', 'events', 'authorization_details', 'sub_id', 'idp',
        'htm', 'htu', 'ath', 'actort', 'tid', 'oid', 'upn', 'nameid', 'unique_name',
        'groups', 'group', 'roles', 'role', 'entitlements', 'permissions',
        'name', 'given_name', 'family_name', 'middle_name', 'nickname', 'preferred_username', 'username', 'email', 'email_verified',
        'phone_number', 'phone_number_verified'
    ]
$$;

comment on function token_service.reserved_claims() is
    'Claims that no client may have as an extra.';

revoke all on function token_service.reserved_claims() from public;


-- Those, and the long names by which .NET knows a name or a role.
create or replace function token_service.reserved_among(p_claims jsonb) returns text
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select string_agg(claim, ', ' order by claim)
    from jsonb_object_keys(case jsonb_typeof(p_claims) when 'object' then p_claims else '{}' end) as claim
    where claim = any (token_service.reserved_claims())
       or claim ~ '^https?://schemas[.]'
$$;

comment on function token_service.reserved_among(jsonb) is
    'Which of these claims are reserved; null: none.';

revoke all on function token_service.reserved_among(jsonb) from public;
