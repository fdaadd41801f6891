-- The keys that sign tokens.

create table token_service.signing_key (
    kid                        text        not null,
    alg                        text        not null,
    public_jwk                 jsonb       not null,
    sealed_private_key         bytea,
    sealing_key_id             text        not null,
    published_at               timestamptz not null,
    known_from                 timestamptz not null,
    signs_from                 timestamptz not null,
    signs_until                timestamptz,
    gone_after                 timestamptz,
    withdrawn_at               timestamptz,
    jwks_max_age_seconds       integer     not null,
    max_token_lifetime_seconds integer     not null default 0,

    constraint signing_key_pkey primary key (kid),
    constraint signing_key_alg_known check (token_service.is_signing_algorithm(alg)),
    -- RFC 7517 §9.2 and RFC 7518 §6: the members that hold private or symmetric key material.
    constraint signing_key_public_jwk_is_public check (
        jsonb_typeof(public_jwk) = 'object'
        and not public_jwk ?| array['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
    ),
    constraint signing_key_dates_in_order check (
        known_from >= published_at and signs_from >= published_at and signs_until >= signs_from
    ),
    -- Without this, a mistake could erase the private half of a key that is still to sign.
    constraint signing_key_can_sign check (sealed_private_key is not null or gone_after is not null),
    constraint signing_key_jwks_max_age_range check (jwks_max_age_seconds between 1 and 86400),
    constraint signing_key_max_token_lifetime_range check (max_token_lifetime_seconds between 0 and 86400)
);

comment on table token_service.signing_key is
    'The keys that sign tokens. The dates of a key''s life are absolute: published, signs, published only, gone.';
comment on column token_service.signing_key.kid is 'The JWK thumbprint (RFC 7638), so that no two keys share it.';
comment on column token_service.signing_key.alg is 'The one algorithm it signs with (RFC 7518 §3.1).';
comment on column token_service.signing_key.public_jwk is 'The public half as the JWKS shows it (RFC 7517 §4).';
comment on column token_service.signing_key.sealed_private_key is
    'The private half: PKCS #8 under AES-256-GCM, kid and alg as associated data. '
    'Nonce (12 bytes), tag (16), ciphertext. Null once the key is gone.';
comment on column token_service.signing_key.sealing_key_id is 'The id of the configured sealing key that opens it.';
comment on column token_service.signing_key.published_at is 'The JWKS has the key from this instant.';
comment on column token_service.signing_key.known_from is
    'Every verifier has the key from this instant: a JWKS without it has left every cache by then.';
comment on column token_service.signing_key.signs_from is
    'The key signs from this instant: not before known_from, unless no other key could sign.';
comment on column token_service.signing_key.signs_until is
    'The key no longer signs at and after this instant. Null: it signs until it has a successor.';
comment on column token_service.signing_key.gone_after is
    'The JWKS lacks the key at and after this instant, because its last token has expired. A trigger keeps it.';
comment on column token_service.signing_key.withdrawn_at is
    'When the key was withdrawn as compromised. Null: it was not.';
comment on column token_service.signing_key.jwks_max_age_seconds is
    'While this is the newest key, no JWKS is served that may be cached for longer.';
comment on column token_service.signing_key.max_token_lifetime_seconds is
    'The longest lifetime of the tokens it has signed. It is raised before the first such token is signed.';
