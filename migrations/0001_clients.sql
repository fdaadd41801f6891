-- Who may ask.

create table token_service.policy (
    id                  boolean     not null default true,
    max_secret_age  interval,
    max_overlap     interval    not null default '30 days',
    min_digest_cost integer     not null default 38912,
    usage_counted_since  timestamptz not null default now(),

    constraint policy_pkey primary key (id),
    constraint policy_is_one_row check (id),
    constraint policy_max_secret_age_range check (max_secret_age between interval '1 day' and interval '3650 days'),
    constraint policy_max_overlap_range check (max_overlap between interval '0' and interval '365 days'),
    constraint policy_min_digest_cost_range check (min_digest_cost between 8192 and 655360)
);

insert into token_service.policy default values;

comment on table token_service.policy is 'What holds for all clients: one row.';
comment on column token_service.policy.id is 'Always true, so that there is one row.';
comment on column token_service.policy.max_secret_age is 'Secrets are refused once they are older, from 1 to 3650 days; null: no such end.';
comment on column token_service.policy.max_overlap is 'The longest a rotation may leave old secrets alive, up to 365 days.';
comment on column token_service.policy.usage_counted_since is
    'Since when uses are counted: what was not used before that is not known to have been idle.';
comment on column token_service.policy.min_digest_cost is
    'Argon2id m (KiB) times t: a digest that costs less is reported as weak. Default 38912, which is m=19456 and t=2.';


create table token_service.client (
    id                     text        not null,
    name                   text        not null,
    enabled                boolean     not null default true,
    authentication_methods text[]      not null default array['client_secret_basic'],
    token_lifetime_seconds integer,
    tokens_per_minute      integer,
    extra_claims           jsonb       not null default '{}',
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
    constraint client_token_lifetime_range check (token_lifetime_seconds between 60 and 86400),
    constraint client_tokens_per_minute_range check (tokens_per_minute between 1 and 1000000),
    constraint client_extra_claims_are_an_object check (jsonb_typeof(extra_claims) = 'object'),
    constraint client_extra_claims_not_reserved check (token_service.reserved_among(extra_claims) is null),
    -- They travel with every request to an API, in a header.
    constraint client_extra_claims_size check (octet_length(extra_claims::text) <= 1024),
    -- Readers of JSON give up at some depth, our own at 64: the client could not be read any more, nor its tokens.
    constraint client_extra_claims_depth check (not extra_claims @? 'strict $.**{17 to last}')
);

comment on table token_service.client is 'A machine that may ask for tokens in its own name (RFC 6749 §2.1, confidential).';
comment on column token_service.client.id is 'client_id, and the sub of its tokens.';
comment on column token_service.client.name is 'For people.';
comment on column token_service.client.enabled is 'False: refused like an unknown client.';
comment on column token_service.client.authentication_methods is
    'How it may authenticate: names of token_endpoint_auth_method (RFC 7591 §2).';
comment on column token_service.client.token_lifetime_seconds is 'Seconds a token lives; null: the server''s default.';
comment on column token_service.client.tokens_per_minute is 'How many tokens each replica gives it at once, an allowance that is whole again in a minute; null: any number.';
comment on column token_service.client.extra_claims is
    'Claims for its tokens beside those of RFC 9068 §2.2; at most 1024 bytes, and 16 levels.';
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
    constraint client_secret_expires_after_start check (expires_at > not_before),
    -- What no reader could represent: infinity, or a year of five digits, which is a slip of the hand.
    constraint client_secret_dates_representable check (
        not_before > '1900-01-01Z' and greatest(not_before, expires_at, revoked_at) < '9000-01-01Z'
        and least(expires_at, revoked_at) > '1900-01-01Z'
    )
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
    max_token_lifetime_seconds integer,
    created_at  timestamptz not null default now(),

    constraint resource_pkey primary key (audience),
    constraint resource_max_token_lifetime_range check (max_token_lifetime_seconds between 60 and 86400),
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
comment on column token_service.resource.max_token_lifetime_seconds is
    'Seconds that no token for it lives longer than, whatever its client may have; null: no such end.';
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


create table token_service.resource_server (
    client_id  text        not null,
    audience   text        not null,
    created_at timestamptz not null default now(),

    constraint resource_server_pkey primary key (client_id, audience),
    constraint resource_server_client_fkey foreign key (client_id) references token_service.client (id) on delete cascade,
    constraint resource_server_resource_fkey foreign key (audience) references token_service.resource (audience) on update cascade
);

create index resource_server_audience on token_service.resource_server (audience);

comment on table token_service.resource_server is
    'Which client speaks for which resource: it may ask what tokens for that are worth (RFC 7662 §2.1).';
comment on column token_service.resource_server.client_id is 'Who may ask.';
comment on column token_service.resource_server.audience is 'About tokens for which resource.';
comment on column token_service.resource_server.created_at is 'When it was registered.';
