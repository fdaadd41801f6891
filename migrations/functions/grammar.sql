-- The grammars of names and values. Each is defined once, here; the constraints of the tables and the guards in the
-- functions call it. This file uses no table, because it is applied before the tables exist.
--
-- Each function returns null for null. The caller decides whether a value may be missing.

create or replace function token_service.is_client_id(p_id text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- Other servers have ids such as URLs, e-mail addresses, and names of realms and namespaces. No client has an id
    -- with a space, a control character or a quoting character, which logs, JSON and shells would show in another form,
    -- or with "*", which means every client in the list of revoked tokens. An id that looks like a secret is a secret
    -- that was pasted into the wrong place.
    select p_id ~ '^[\x21\x23-\x26\x28\x29\x2B-\x5B\x5D-\x5F\x61-\x7E]{1,255}$' and p_id !~ '^tsvc_'
$$;

comment on function token_service.is_client_id(text) is
    'True for 1 to 255 printable ASCII characters without space, quotation marks, "`", "\" and "*", not beginning with '
    'tsvc_.';

revoke all on function token_service.is_client_id(text) from public;


create or replace function token_service.is_simple_client_id(p_id text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- Form-encoding leaves these characters alone, so a client cannot get its id wrong in HTTP Basic.
    select p_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' and p_id !~ '^tsvc_'
$$;

comment on function token_service.is_simple_client_id(text) is
    'True for 1 to 128 letters, digits, ".", "_" and "-", beginning with a letter or digit, and not with tsvc_: an id '
    'that was not brought from another server.';

revoke all on function token_service.is_simple_client_id(text) from public;


create or replace function token_service.is_short_text(p_text text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select char_length(p_text) between 1 and 200
$$;

comment on function token_service.is_short_text(text) is 'True for 1 to 200 characters: a name or a label, for people.';

revoke all on function token_service.is_short_text(text) from public;


create or replace function token_service.are_authentication_methods(p_methods text[]) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select cardinality(p_methods) > 0
       and p_methods <@ array['client_secret_basic', 'client_secret_post', 'private_key_jwt']
$$;

comment on function token_service.are_authentication_methods(text[]) is
    'True for one or more of the ways in which a client may authenticate (RFC 7591 §2, token_endpoint_auth_method).';

revoke all on function token_service.are_authentication_methods(text[]) from public;


create or replace function token_service.is_token_lifetime(p_seconds numeric) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_seconds between 60 and 86400 and p_seconds = trunc(p_seconds)
$$;

comment on function token_service.is_token_lifetime(numeric) is 'True for 1 minute to 1 day, in whole seconds.';

revoke all on function token_service.is_token_lifetime(numeric) from public;


create or replace function token_service.is_tokens_per_minute(p_tokens integer) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_tokens between 1 and 1000000
$$;

comment on function token_service.is_tokens_per_minute(integer) is 'True for 1 to 1000000.';

revoke all on function token_service.is_tokens_per_minute(integer) from public;


create or replace function token_service.is_small_object(p_claims jsonb) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- The claims travel with every request to an API, in a header.
    select jsonb_typeof(p_claims) = 'object' and octet_length(p_claims::text) <= 1024
$$;

comment on function token_service.is_small_object(jsonb) is 'True for a JSON object of at most 1024 bytes.';

revoke all on function token_service.is_small_object(jsonb) from public;


create or replace function token_service.is_shallow(p_claims jsonb) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- Every reader of JSON refuses more than some depth. This server refuses more than 64 levels, and could then read
    -- neither the client nor its tokens.
    select not p_claims @? 'strict $.**{17 to last}'
$$;

comment on function token_service.is_shallow(jsonb) is 'True for JSON of at most 16 levels.';

revoke all on function token_service.is_shallow(jsonb) from public;
-- The server writes signing keys, whose constraint calls this.
grant execute on function token_service.is_shallow(jsonb) to token_service_app;


-- The claims that this server sets, those of RFC 7519 §4.1, and those from which an API concludes who a person is or
-- what they may do: a client must not be able to pass for a person (RFC 9700 §4.15).
create or replace function token_service.reserved_claims() returns text[]
    language sql immutable parallel safe
    set search_path = pg_catalog
as $$
    select array[
        'iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'scope', 'scp', 'cnf', 'act', 'may_act', 'azp',
        'typ', 'nonce', 'at_hash', 'c_hash', 'auth_time', 'acr', 'amr', 'sid', 'events', 'authorization_details',
        'sub_id', 'idp', 'htm', 'htu', 'ath', 'actort', 'tid', 'oid', 'upn', 'nameid', 'unique_name',
        'groups', 'group', 'roles', 'role', 'entitlements', 'permissions',
        'name', 'given_name', 'family_name', 'middle_name', 'nickname', 'preferred_username', 'username',
        'email', 'email_verified', 'phone_number', 'phone_number_verified'
    ]
$$;

comment on function token_service.reserved_claims() is
    'The claims, in lower case, that no client may have as an extra claim; reserved_among has the exceptions.';

revoke all on function token_service.reserved_claims() from public;


create or replace function token_service.reserved_among(p_claims jsonb) returns text
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select string_agg(claim, ', ' order by claim)
    from jsonb_object_keys(case jsonb_typeof(p_claims) when 'object' then p_claims else '{}' end) as claim
    -- Some APIs compare the names of claims without case: ASP.NET Core's policies do.
    where (lower(claim collate "C") = any (token_service.reserved_claims())
           -- An API that is used to another server may expect these, and an admin may give them on purpose, spelled
           -- just so. RFC 9068 §2.2.3.1 has the first three.
           and claim <> all (array['roles', 'groups', 'entitlements', 'tid', 'azp', 'scp']))
       -- The long names by which .NET knows a name or a role.
       or claim ~* '^https?://schemas[.]'
$$;

comment on function token_service.reserved_among(jsonb) is
    'The names among the claims that are reserved. Null: there is none.';

revoke all on function token_service.reserved_among(jsonb) from public;


create or replace function token_service.is_secret_id(p_id text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_id ~ '^(imported_)?[0-9A-Za-z]{12}$'
$$;

comment on function token_service.is_secret_id(text) is
    'True for 12 letters and digits, with or without imported_ before them.';

revoke all on function token_service.is_secret_id(text) from public;


create or replace function token_service.is_client_kid(p_kid text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- Without the characters that JSON and shells show in another form, and without spaces, since credential_use joins
    -- the client and the kid with one.
    select p_kid ~ '^[\x21\x23-\x26\x28-\x5B\x5D-\x5F\x61-\x7E]{1,128}$' and p_kid !~ '^tsvc_'
$$;

comment on function token_service.is_client_kid(text) is
    'True for 1 to 128 printable ASCII characters without space, quotation marks, "`" and "\", not beginning with '
    'tsvc_.';

revoke all on function token_service.is_client_kid(text) from public;


create or replace function token_service.is_assertion_algorithm(p_alg text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_alg in ('ES256', 'ES384', 'PS256', 'RS256', 'Ed25519')
$$;

comment on function token_service.is_assertion_algorithm(text) is
    'True for an algorithm with which a client may sign assertions (RFC 7518 §3.1, RFC 9864 §2.2).';

revoke all on function token_service.is_assertion_algorithm(text) from public;


create or replace function token_service.is_public_jwk(p_jwk jsonb, p_alg text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- Each number has one spelling only: unpadded base64url without stray bits, coordinates at their full length, no zero
    -- octet at the front of n and e. So a key has one thumbprint. The server checks in addition that a point is on its
    -- curve.
    select coalesce(
        jsonb_typeof(p_jwk) = 'object'
        and octet_length(p_jwk::text) <= 2048
        and not p_jwk ?| array['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
        and coalesce(p_jwk -> 'use', '"sig"') = '"sig"'
        and (not p_jwk ? 'key_ops' or p_jwk -> 'key_ops' ? 'verify')
        and case
            when p_alg in ('ES256', 'ES384', 'Ed25519') then
                (p_alg, p_jwk ->> 'kty', p_jwk ->> 'crv')
                    in (('ES256', 'EC', 'P-256'), ('ES384', 'EC', 'P-384'), ('Ed25519', 'OKP', 'Ed25519'))
                and case p_alg
                    when 'ES384' then p_jwk ->> 'x' ~ '^[A-Za-z0-9_-]{64}$'
                    else p_jwk ->> 'x' ~ '^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$'
                end
                and case p_alg
                    when 'ES256' then p_jwk ->> 'y' ~ '^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$'
                    when 'ES384' then p_jwk ->> 'y' ~ '^[A-Za-z0-9_-]{64}$'
                    else true
                end
            when p_alg in ('PS256', 'RS256') then
                p_jwk ->> 'kty' = 'RSA'
                and char_length(p_jwk ->> 'n') between 342 and 683
                and p_jwk ->> 'n' ~ '^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$'
                and p_jwk ->> 'n' !~ '^A[A-P]'
                and p_jwk ->> 'e' ~ '^(?:[A-Za-z0-9_-]{4})?(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$'
                and char_length(p_jwk ->> 'e') between 2 and 6
                and p_jwk ->> 'e' !~ '^A[A-P]'
            else false
        end,
        false)
$$;

comment on function token_service.is_public_jwk(jsonb, text) is
    'True for a public JWK (RFC 7517 §4) of the algorithm: P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits.';

revoke all on function token_service.is_public_jwk(jsonb, text) from public;


create or replace function token_service.jwk_thumbprint(p_jwk jsonb) returns bytea
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select sha256(convert_to(
        case p_jwk ->> 'kty'
            when 'EC' then
                format('{"crv":"%s","kty":"EC","x":"%s","y":"%s"}', p_jwk ->> 'crv', p_jwk ->> 'x', p_jwk ->> 'y')
            when 'RSA' then format('{"e":"%s","kty":"RSA","n":"%s"}', p_jwk ->> 'e', p_jwk ->> 'n')
            when 'OKP' then format('{"crv":"%s","kty":"OKP","x":"%s"}', p_jwk ->> 'crv', p_jwk ->> 'x')
        end,
        'UTF8'))
$$;

comment on function token_service.jwk_thumbprint(jsonb) is
    'The JWK thumbprint (RFC 7638) of a key that is_public_jwk accepts: SHA-256, 32 bytes.';

revoke all on function token_service.jwk_thumbprint(jsonb) from public;


create or replace function token_service.is_sender_constraint(p_constraint text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_constraint in ('dpop')
$$;

comment on function token_service.is_sender_constraint(text) is
    'True for what a token can be bound to: dpop, a key of the caller (RFC 9449).';

revoke all on function token_service.is_sender_constraint(text) from public;


create or replace function token_service.is_argon2id_digest(p_digest text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- The cost bounds the memory and the time that one verification can take.
    select coalesce(
        (select m[1]::integer between 8192 and 65536 and m[2]::integer between 1 and 10
         from regexp_match(p_digest,
             '^\$argon2id\$v=19\$m=([1-9][0-9]{3,4}),t=([1-9][0-9]?),p=1'
             '\$[A-Za-z0-9+/]{21}[AQgw]\$[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$') as m),
        false)
$$;

comment on function token_service.is_argon2id_digest(text) is
    'True for a PHC string of Argon2id 1.3 with m 8192..65536 KiB, t 1..10, p 1, a 16-byte salt and a 32-byte hash.';

revoke all on function token_service.is_argon2id_digest(text) from public;


create or replace function token_service.is_representable(p_at timestamptz) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- Some readers cannot represent infinity, and a year of five digits is a typing error.
    select p_at > '1900-01-01Z' and p_at < '9000-01-01Z'
$$;

comment on function token_service.is_representable(timestamptz) is 'True for a date between the years 1900 and 9000.';

revoke all on function token_service.is_representable(timestamptz) from public;
-- The server writes rows with dates, whose constraints call this.
grant execute on function token_service.is_representable(timestamptz) to token_service_app;


create or replace function token_service.is_resource_id(p_id text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select char_length(p_id) <= 256
       and p_id !~ '^tsvc_'
       -- RFC 8707 §2: an absolute URI without a fragment. Or a plain name, of the same characters without the colon.
       and (p_id ~ '^[A-Za-z][A-Za-z0-9+.-]*:[\x21\x24-\x3B\x3D\x3F-\x5B\x5D\x5F\x61-\x7A\x7E]+$'
            or p_id ~ '^[\x21\x24-\x39\x3B\x3D\x3F-\x5B\x5D\x5F\x61-\x7A\x7E]+$')
$$;

comment on function token_service.is_resource_id(text) is
    'True for an absolute URI without a fragment and for a plain name, of up to 256 characters, not beginning with '
    'tsvc_.';

revoke all on function token_service.is_resource_id(text) from public;


create or replace function token_service.is_scope_token(p_scope text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_scope ~ '^[\x21\x23-\x5B\x5D-\x7E]{1,128}$'
$$;

comment on function token_service.is_scope_token(text) is
    'True for a scope-token of RFC 6749 §3.3 of up to 128 characters.';

revoke all on function token_service.is_scope_token(text) from public;


create or replace function token_service.is_signing_algorithm(p_alg text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_alg in ('ES256', 'ES384', 'RS256', 'PS256')
$$;

comment on function token_service.is_signing_algorithm(text) is 'True for an algorithm that this server signs with.';

revoke all on function token_service.is_signing_algorithm(text) from public;
-- The server writes signing keys, whose constraint calls this.
grant execute on function token_service.is_signing_algorithm(text) to token_service_app;


create or replace function token_service.is_access_token_typ(p_typ text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_typ in ('at+jwt', 'JWT')
$$;

comment on function token_service.is_access_token_typ(text) is
    'True for the typ of RFC 9068 §2.1 and the one of any JWT (RFC 7519 §5.1), in exactly this spelling.';

revoke all on function token_service.is_access_token_typ(text) from public;


create or replace function token_service.is_max_secret_age(p_age interval) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_age between interval '1 day' and interval '3650 days'
$$;

comment on function token_service.is_max_secret_age(interval) is 'True for 1 to 3650 days.';

revoke all on function token_service.is_max_secret_age(interval) from public;


create or replace function token_service.is_max_overlap(p_overlap interval) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_overlap between interval '0' and interval '365 days'
$$;

comment on function token_service.is_max_overlap(interval) is 'True for 0 to 365 days.';

revoke all on function token_service.is_max_overlap(interval) from public;


create or replace function token_service.is_digest_cost(p_cost integer) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    select p_cost between 8192 and 655360
$$;

comment on function token_service.is_digest_cost(integer) is
    'True for a cost, m (KiB) times t, that is_argon2id_digest lets a digest have.';

revoke all on function token_service.is_digest_cost(integer) from public;


create or replace function token_service.looks_private(p_text text) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog
as $$
    -- A JWK with a private member, whole, cut off or quoted once more; or PEM.
    select p_text ~ '"(d|p|q|dp|dq|qi|oth|k)\\?" *:' or p_text like '%PRIVATE KEY%'
$$;

comment on function token_service.looks_private(text) is
    'True for a text that has a private key in it, as a JWK or as PEM, even if it is cut off.';

revoke all on function token_service.looks_private(text) from public;
-- The function read_jwk, which calls this, runs with the rights of its caller.
grant execute on function token_service.looks_private(text) to token_service_admin;


create or replace function token_service.without_secret(p_text text) returns text
    language sql immutable parallel safe
    set search_path = pg_catalog
as $$
    select case
        when token_service.looks_private(p_text) then '…'
        else regexp_replace(coalesce(p_text, ''), '^tsvc_.*', 'tsvc_…')
    end
$$;

comment on function token_service.without_secret(text) is
    'The text as an error message may repeat it: without a secret or private key that was pasted in its place.';

revoke all on function token_service.without_secret(text) from public;
