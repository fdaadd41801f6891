-- Who may ask (client, client_secret), for what (resource, scope, client_scope), and what tokens are signed with
-- (signing_key). Issuing a token writes to none of them.

-- An Argon2id digest as this server makes and verifies it: version 1.3, a 16-byte salt, a 32-byte hash, one lane,
-- and a cost that bounds the memory and time one verification can take.
create function token_service.is_argon2id_digest(digest text) returns boolean
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


create table token_service.client (
    id                     text        not null,
    name                   text        not null,
    enabled                boolean     not null default true,
    authentication_methods text[]      not null default array['client_secret_basic'],
    token_lifetime_seconds integer,
    created_at             timestamptz not null default now(),

    constraint client_pkey primary key (id),
    -- Only characters that form-encoding leaves alone, so that a client cannot get them wrong in HTTP Basic.
    -- One that looks like a secret is a secret pasted into the wrong place.
    constraint client_id_grammar check (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' and id !~ '^tsvc_'),
    constraint client_name_length check (char_length(name) between 1 and 200),
    constraint client_authentication_methods_known check (
        cardinality(authentication_methods) > 0
        and authentication_methods <@ array['client_secret_basic', 'client_secret_post']
    ),
    constraint client_token_lifetime_range check (token_lifetime_seconds between 60 and 86400)
);

comment on table token_service.client is 'A machine that may ask for tokens in its own name (RFC 6749 §2.1, confidential).';
comment on column token_service.client.id is 'client_id, and the sub of its tokens.';
comment on column token_service.client.name is 'For people.';
comment on column token_service.client.enabled is 'False: refused like an unknown client.';
comment on column token_service.client.authentication_methods is
    'How it may authenticate: names of token_endpoint_auth_method (RFC 7591 §2).';
comment on column token_service.client.token_lifetime_seconds is 'Seconds a token lives; null: the server''s default.';
comment on column token_service.client.created_at is 'When it was made.';


create table token_service.client_secret (
    id         text        not null,
    client_id  text        not null,
    digest     text        not null,
    label      text,
    not_before timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),

    constraint client_secret_pkey primary key (id),
    constraint client_secret_client_fkey foreign key (client_id) references token_service.client (id) on delete cascade,
    constraint client_secret_id_grammar check (id ~ '^(imported_)?[0-9A-Za-z]{12}$'),
    constraint client_secret_digest_is_argon2id check (token_service.is_argon2id_digest(digest)),
    constraint client_secret_label_length check (char_length(label) between 1 and 200),
    constraint client_secret_expires_after_start check (expires_at > not_before)
);

create index client_secret_client_id on token_service.client_secret (client_id);

comment on table token_service.client_secret is 'The secrets of a client. Any number may be alive at once; only digests are kept.';
comment on column token_service.client_secret.id is
    'The selector inside a secret this server made; imported_… for one brought from another system, which names no row.';
comment on column token_service.client_secret.client_id is 'Whose secret it is.';
comment on column token_service.client_secret.digest is 'Argon2id, as a PHC string.';
comment on column token_service.client_secret.label is 'For people: what it is for, or where it is kept.';
comment on column token_service.client_secret.not_before is 'Refused before this instant.';
comment on column token_service.client_secret.expires_at is 'Refused at and after this instant; null: no end.';
comment on column token_service.client_secret.revoked_at is 'Refused at and after this instant; null: not revoked.';
comment on column token_service.client_secret.created_at is 'When it was added.';


create table token_service.resource (
    audience    text        not null,
    signing_alg text,
    created_at  timestamptz not null default now(),

    constraint resource_pkey primary key (audience),
    constraint resource_signing_alg_known check (signing_alg in ('ES256', 'ES384', 'RS256', 'PS256')),
    -- RFC 8707 §2: an absolute URI without a fragment.
    constraint resource_audience_is_absolute_uri check (
        audience ~ '^[A-Za-z][A-Za-z0-9+.-]*:[\x21\x24-\x3B\x3D\x3F-\x5B\x5D\x5F\x61-\x7A\x7E]+$'
        and char_length(audience) <= 256
    )
);

comment on table token_service.resource is 'An API that takes our tokens.';
comment on column token_service.resource.audience is 'Its identifier: the aud of tokens for it, shared with no other API (RFC 9068 §5).';
comment on column token_service.resource.signing_alg is
    'What tokens for it are signed with, for an API that verifies nothing else (RFC 9068 §2.1); null: the server''s default.';
comment on column token_service.resource.created_at is 'When it was made.';


create table token_service.scope (
    name       text        not null,
    audience   text        not null,
    created_at timestamptz not null default now(),

    constraint scope_pkey primary key (name),
    constraint scope_resource_fkey foreign key (audience) references token_service.resource (audience) on update cascade,
    -- RFC 6749 §3.3, scope-token.
    constraint scope_name_grammar check (name ~ '^[\x21\x23-\x5B\x5D-\x7E]{1,128}$')
);

create index scope_audience on token_service.scope (audience);

comment on table token_service.scope is 'What may be asked of a resource. A scope belongs to one resource, which decides a token''s audience.';
comment on column token_service.scope.name is 'The scope-token of RFC 6749 §3.3; case-sensitive.';
comment on column token_service.scope.audience is 'The resource it belongs to.';
comment on column token_service.scope.created_at is 'When it was made.';


create table token_service.client_scope (
    client_id  text        not null,
    scope      text        not null,
    is_default boolean     not null default false,
    created_at timestamptz not null default now(),

    constraint client_scope_pkey primary key (client_id, scope),
    constraint client_scope_client_fkey foreign key (client_id) references token_service.client (id) on delete cascade,
    constraint client_scope_scope_fkey foreign key (scope) references token_service.scope (name) on update cascade
);

create index client_scope_scope on token_service.client_scope (scope);

comment on table token_service.client_scope is 'What a client may ask for.';
comment on column token_service.client_scope.client_id is 'Who may ask.';
comment on column token_service.client_scope.scope is 'For what.';
comment on column token_service.client_scope.is_default is 'Granted when a request names no scope (RFC 6749 §3.3).';
comment on column token_service.client_scope.created_at is 'When it was granted.';


create table token_service.signing_key (
    kid                   text        not null,
    alg                   text        not null,
    public_jwk            jsonb       not null,
    sealed_private_key    bytea,
    sealing_key_id        text        not null,
    published_at          timestamptz not null,
    known_from            timestamptz not null,
    signs_from            timestamptz not null,
    signs_until           timestamptz,
    gone_after            timestamptz,
    withdrawn_at          timestamptz,
    jwks_max_age_seconds  integer     not null,
    longest_token_seconds integer     not null default 0,

    constraint signing_key_pkey primary key (kid),
    constraint signing_key_alg_known check (alg in ('ES256', 'ES384', 'RS256', 'PS256')),
    -- RFC 7517 §9.2 and RFC 7518 §6: the members that hold private or symmetric key material.
    constraint signing_key_public_jwk_is_public check (
        jsonb_typeof(public_jwk) = 'object'
        and not public_jwk ?| array['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
    ),
    constraint signing_key_dates_in_order check (
        known_from >= published_at and signs_from >= published_at and signs_until >= signs_from
    ),
    -- The private half of a key that is not yet to go is never lost.
    constraint signing_key_can_sign check (sealed_private_key is not null or gone_after is not null),
    constraint signing_key_jwks_max_age_range check (jwks_max_age_seconds between 1 and 86400),
    constraint signing_key_longest_token_range check (longest_token_seconds between 0 and 86400)
);

comment on table token_service.signing_key is
    'What tokens are signed with. A key''s life is a row of absolute dates: published, signs, published only, gone.';
comment on column token_service.signing_key.kid is 'The JWK thumbprint (RFC 7638), so it is never used twice.';
comment on column token_service.signing_key.alg is 'The one algorithm it signs with (RFC 7518 §3.1).';
comment on column token_service.signing_key.public_jwk is 'The public half as the JWKS shows it (RFC 7517 §4).';
comment on column token_service.signing_key.sealed_private_key is
    'PKCS #8 under AES-256-GCM, kid and alg as associated data: nonce (12 bytes), tag (16), ciphertext. Null once it is gone.';
comment on column token_service.signing_key.sealing_key_id is 'Which configured sealing key opens it.';
comment on column token_service.signing_key.published_at is 'In the JWKS from this instant.';
comment on column token_service.signing_key.known_from is
    'Every verifier has it from this instant: whoever had fetched the JWKS without it has had to fetch it again.';
comment on column token_service.signing_key.signs_from is
    'Signs from this instant: not before known_from, unless there is no other key that could sign.';
comment on column token_service.signing_key.signs_until is 'Signs no more at and after this instant; null: until it has a successor.';
comment on column token_service.signing_key.gone_after is
    'Out of the JWKS at and after this instant: when its last token is dead. Kept by trigger.';
comment on column token_service.signing_key.withdrawn_at is 'When it was withdrawn as compromised; null: it was not.';
comment on column token_service.signing_key.jwks_max_age_seconds is
    'While this is the newest key, no JWKS is served that may be cached for longer.';
comment on column token_service.signing_key.longest_token_seconds is
    'High-water mark: no token it has signed lives longer. Raised before the first such token is signed.';


-- The one place that decides when a key is gone, whoever changes its dates.
create function token_service.set_signing_key_gone_after() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    new.gone_after := coalesce(
        new.withdrawn_at,
        -- A quarter of an hour more, for a replica that learns late that the key has ended, and for clocks that differ.
        new.signs_until + make_interval(secs => new.longest_token_seconds) + interval '15 minutes');
    return new;
end
$$;

comment on function token_service.set_signing_key_gone_after() is 'Keeps signing_key.gone_after.';

create trigger signing_key_gone_after before insert or update on token_service.signing_key
    for each row execute function token_service.set_signing_key_gone_after();


-- Tells every replica that listens what has changed; it reads the rest from the tables.
create function token_service.notify_change() returns trigger
    language plpgsql
    set search_path = pg_catalog, token_service, pg_temp
as $$
begin
    perform pg_notify('token_service', tg_table_name);
    return null;
end
$$;

comment on function token_service.notify_change() is 'NOTIFY token_service with the table''s name.';

-- For each row: a statement that changes none must not wake anybody. Equal notifications of one transaction are sent once.
create trigger signing_key_notify after insert or update or delete on token_service.signing_key
    for each row execute function token_service.notify_change();
