-- Clients that authenticate with a key of their own (RFC 7523), and tokens that are bound to a key (RFC 9449).
--
-- An older build reads none of this. A client that has only keys gets no token from it, so give clients keys once every
-- replica runs this build.

create table token_service.client_key (
    client_id  text        not null,
    kid        text        not null,
    alg        text        not null,
    public_jwk jsonb       not null,
    thumbprint bytea       not null generated always as (token_service.jwk_thumbprint(public_jwk)) stored,
    label      text,
    not_before timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),

    constraint client_key_pkey primary key (client_id, kid),
    constraint client_key_thumbprint_key unique (client_id, thumbprint),
    constraint client_key_client_fkey foreign key (client_id)
        references token_service.client (id) on delete cascade,
    constraint client_key_kid_grammar check (token_service.is_client_kid(kid)),
    constraint client_key_alg_known check (token_service.is_assertion_algorithm(alg)),
    constraint client_key_public_jwk_fits_alg check (token_service.is_public_jwk(public_jwk, alg)),
    constraint client_key_public_jwk_depth check (token_service.is_shallow(public_jwk)),
    constraint client_key_label_length check (token_service.is_short_text(label)),
    constraint client_key_expires_after_start check (expires_at > not_before),
    constraint client_key_dates_representable check (
        token_service.is_representable(not_before)
        and token_service.is_representable(expires_at)
        and token_service.is_representable(revoked_at)
        and token_service.is_representable(created_at)
    )
);

comment on table token_service.client_key is
    'The public keys of a client, which verify its assertions (RFC 7523 §3). Several may be alive at once.';
comment on column token_service.client_key.client_id is 'The client whose key it is.';
comment on column token_service.client_key.kid is 'The kid in the header of its assertions.';
comment on column token_service.client_key.alg is
    'The one algorithm of its assertions (RFC 8725 §3.1): ES256, ES384, PS256, RS256 or Ed25519.';
comment on column token_service.client_key.public_jwk is 'The public half as a JWK (RFC 7517 §4), without private members.';
comment on column token_service.client_key.thumbprint is 'Its JWK thumbprint (RFC 7638): 32 bytes.';
comment on column token_service.client_key.label is 'For people: what the key is for, or where it is kept.';
comment on column token_service.client_key.not_before is 'The key is refused before this instant.';
comment on column token_service.client_key.expires_at is
    'The key is refused at and after this instant. Null: it does not expire.';
comment on column token_service.client_key.revoked_at is
    'The key is refused at and after this instant. Null: it was not revoked.';
comment on column token_service.client_key.created_at is 'When the key was added.';


alter table token_service.client
    add column sender_constraint text,
    add column token_endpoint_audience_until timestamptz,
    add constraint client_sender_constraint_known check (token_service.is_sender_constraint(sender_constraint)),
    add constraint client_token_endpoint_audience_until_representable
        check (token_service.is_representable(token_endpoint_audience_until));

comment on column token_service.client.sender_constraint is
    'What its tokens must be bound to: dpop, a key of the caller (RFC 9449). Null: they may be unbound.';
comment on column token_service.client.token_endpoint_audience_until is
    'Until this instant its assertions may have the address of the token endpoint as aud, beside the issuer, which is '
    'right. Null: they may not.';

alter table token_service.resource
    add column sender_constraint text,
    add constraint resource_sender_constraint_known check (token_service.is_sender_constraint(sender_constraint));

comment on column token_service.resource.sender_constraint is
    'What tokens for it must be bound to: dpop, a key of the caller (RFC 9449). Null: they may be unbound.';


create table token_service.used_jti (
    key        bytea       not null,
    expires_at timestamptz not null,

    constraint used_jti_pkey primary key (key),
    constraint used_jti_key_length check (octet_length(key) = 32),
    constraint used_jti_dates_representable check (token_service.is_representable(expires_at))
) with (autovacuum_vacuum_scale_factor = 0.01); -- each row is deleted within minutes

create index used_jti_expires_at on token_service.used_jti (expires_at);

comment on table token_service.used_jti is
    'The assertions that were used and would still be accepted, so that each works once, at whichever replica.';
comment on column token_service.used_jti.key is
    'SHA-256 over the client and the jti. Not over the assertion, which has a second valid encoding.';
comment on column token_service.used_jti.expires_at is 'The assertion is refused for its age at and after this instant.';


alter table token_service.credential_use
    drop constraint credential_use_kind_known,
    add constraint credential_use_kind_known check (kind in ('secret', 'key'));

comment on column token_service.credential_use.kind is 'The kind of credential: secret or key.';
comment on column token_service.credential_use.credential_id is
    'Its id within its kind: client_secret.id, or client_key.client_id and kid with a space between.';


-- The files of functions make a report of all credentials in place of the first, and the second again with more columns.
drop function if exists
    token_service.secrets_report(text, interval, interval),
    token_service.clients_report(text);
