-- The clients that may ask for a token, and what they may ask for. Issuing a token writes to none of these tables.

create table token_service.policy (
    id                  boolean     not null default true,
    max_secret_age      interval,
    max_overlap         interval    not null default '30 days',
    min_digest_cost     integer     not null default 38912,
    usage_counted_since timestamptz not null default now(),

    constraint policy_pkey primary key (id),
    constraint policy_is_one_row check (id),
    constraint policy_max_secret_age_range check (token_service.is_max_secret_age(max_secret_age)),
    constraint policy_max_overlap_range check (token_service.is_max_overlap(max_overlap)),
    constraint policy_min_digest_cost_range check (token_service.is_digest_cost(min_digest_cost))
);

insert into token_service.policy default values;

comment on table token_service.policy is 'The rules for all clients, in one row.';
comment on column token_service.policy.id is 'Always true, so that there is one row.';
comment on column token_service.policy.max_secret_age is
    'A secret that is older is refused; 1 to 3650 days. Null: secrets have no maximum age.';
comment on column token_service.policy.max_overlap is
    'The longest time for which a rotation may leave the old secrets alive, up to 365 days.';
comment on column token_service.policy.min_digest_cost is
    'Argon2id m (KiB) times t: a digest that costs less is reported as weak. The default is m=19456 and t=2.';
comment on column token_service.policy.usage_counted_since is
    'When counting began. The reports call nothing idle for the time before.';


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
    constraint client_id_grammar check (token_service.is_client_id(id)),
    constraint client_name_length check (token_service.is_short_text(name)),
    constraint client_authentication_methods_known check (
        token_service.are_authentication_methods(authentication_methods)
    ),
    constraint client_token_lifetime_range check (token_service.is_token_lifetime(token_lifetime_seconds)),
    constraint client_tokens_per_minute_range check (token_service.is_tokens_per_minute(tokens_per_minute)),
    constraint client_extra_claims_are_a_small_object check (token_service.is_small_object(extra_claims)),
    constraint client_extra_claims_depth check (token_service.is_shallow(extra_claims)),
    constraint client_extra_claims_not_reserved check (token_service.reserved_among(extra_claims) is null)
);

comment on table token_service.client is
    'A machine that may ask for tokens in its own name (RFC 6749 §2.1, confidential).';
comment on column token_service.client.id is 'The client_id, and the sub of its tokens.';
comment on column token_service.client.name is 'What people call it.';
comment on column token_service.client.enabled is 'False: the client is refused like an unknown one.';
comment on column token_service.client.authentication_methods is
    'The ways in which it may authenticate: values of token_endpoint_auth_method (RFC 7591 §2).';
comment on column token_service.client.token_lifetime_seconds is
    'How many seconds its tokens live. Null: the server''s default.';
comment on column token_service.client.tokens_per_minute is
    'How many tokens each replica issues to it at once; the allowance is full again after a minute. Null: any number.';
comment on column token_service.client.extra_claims is
    'Claims that its tokens have beside those of RFC 9068 §2.2; at most 1024 bytes and 16 levels.';
comment on column token_service.client.created_at is 'When the client was made.';


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
    constraint client_secret_client_fkey foreign key (client_id)
        references token_service.client (id) on delete cascade,
    constraint client_secret_id_grammar check (token_service.is_secret_id(id)),
    constraint client_secret_digest_is_argon2id check (token_service.is_argon2id_digest(digest)),
    constraint client_secret_label_length check (token_service.is_short_text(label)),
    constraint client_secret_expires_after_start check (expires_at > not_before),
    constraint client_secret_dates_representable check (
        token_service.is_representable(not_before)
        and token_service.is_representable(expires_at)
        and token_service.is_representable(revoked_at)
    )
);

create index client_secret_client_id on token_service.client_secret (client_id);

comment on table token_service.client_secret is
    'The secrets of a client. Any number may be alive at once, and only their digests are kept.';
comment on column token_service.client_secret.id is
    'The selector inside a secret that this server made; imported_… for a secret from another system.';
comment on column token_service.client_secret.client_id is 'The client whose secret it is.';
comment on column token_service.client_secret.digest is 'The Argon2id digest, as a PHC string.';
comment on column token_service.client_secret.label is 'For people: what the secret is for, or where it is kept.';
comment on column token_service.client_secret.not_before is 'The secret is refused before this instant.';
comment on column token_service.client_secret.expires_at is
    'The secret is refused at and after this instant. Null: it does not expire.';
comment on column token_service.client_secret.revoked_at is
    'The secret is refused at and after this instant. Null: it was not revoked.';
comment on column token_service.client_secret.created_at is 'When the secret was added.';


create table token_service.resource (
    id                         text        not null,
    signing_alg                text,
    max_token_lifetime_seconds integer,
    created_at                 timestamptz not null default now(),

    constraint resource_pkey primary key (id),
    constraint resource_id_grammar check (token_service.is_resource_id(id)),
    constraint resource_signing_alg_known check (token_service.is_signing_algorithm(signing_alg)),
    constraint resource_max_token_lifetime_range check (token_service.is_token_lifetime(max_token_lifetime_seconds))
);

comment on table token_service.resource is 'An API that takes tokens.';
comment on column token_service.resource.id is
    'The aud of tokens for it, which no other API has (RFC 9068 §5): an absolute URI (RFC 8707 §2), or a plain name.';
comment on column token_service.resource.signing_alg is
    'The algorithm that signs tokens for it, for an API that verifies no other (RFC 9068 §2.1). Null: the server''s.';
comment on column token_service.resource.max_token_lifetime_seconds is
    'No token for it lives for more seconds, whatever its client has. Null: there is no such limit.';
comment on column token_service.resource.created_at is 'When the resource was made.';


create table token_service.scope (
    resource   text        not null,
    name       text        not null,
    created_at timestamptz not null default now(),

    constraint scope_pkey primary key (resource, name),
    constraint scope_resource_fkey foreign key (resource)
        references token_service.resource (id) on update cascade,
    constraint scope_name_grammar check (token_service.is_scope_token(name))
);

create index scope_name on token_service.scope (name);

comment on table token_service.scope is
    'What a client may ask for at a resource. Two resources may have scopes with the same name.';
comment on column token_service.scope.resource is 'The resource to which the scope belongs.';
comment on column token_service.scope.name is 'The scope-token of RFC 6749 §3.3; case-sensitive.';
comment on column token_service.scope.created_at is 'When the scope was made.';


create table token_service.client_scope (
    client_id  text        not null,
    resource   text        not null,
    scope      text        not null,
    is_default boolean     not null default false,
    created_at timestamptz not null default now(),

    constraint client_scope_pkey primary key (client_id, resource, scope),
    constraint client_scope_client_fkey foreign key (client_id)
        references token_service.client (id) on delete cascade,
    constraint client_scope_scope_fkey foreign key (resource, scope)
        references token_service.scope (resource, name) on update cascade
);

create index client_scope_scope on token_service.client_scope (resource, scope);

comment on table token_service.client_scope is 'The scopes that a client may ask for.';
comment on column token_service.client_scope.client_id is 'The client.';
comment on column token_service.client_scope.resource is 'The resource to which the scope belongs.';
comment on column token_service.client_scope.scope is 'The scope''s name.';
comment on column token_service.client_scope.is_default is
    'True: a request that names no scope gets it (RFC 6749 §3.3).';
comment on column token_service.client_scope.created_at is 'When the scope was granted.';


create table token_service.resource_server (
    client_id  text        not null,
    resource   text        not null,
    created_at timestamptz not null default now(),

    constraint resource_server_pkey primary key (client_id, resource),
    constraint resource_server_client_fkey foreign key (client_id)
        references token_service.client (id) on delete cascade,
    constraint resource_server_resource_fkey foreign key (resource)
        references token_service.resource (id) on update cascade
);

create index resource_server_resource on token_service.resource_server (resource);

comment on table token_service.resource_server is
    'The clients that speak for a resource: they may introspect tokens for it (RFC 7662 §2.1).';
comment on column token_service.resource_server.client_id is 'The client that introspects.';
comment on column token_service.resource_server.resource is 'The resource whose tokens it may introspect.';
comment on column token_service.resource_server.created_at is 'When the client was registered.';
