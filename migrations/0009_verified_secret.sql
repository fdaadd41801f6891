-- Generated secrets that were verified, so that a replica that starts hashes none of them again.

create table token_service.verified_secret (
    secret_id      text        not null,
    mac            bytea       not null,
    sealing_key_id text        not null,
    verified_at    timestamptz not null,

    constraint verified_secret_pkey primary key (secret_id),
    constraint verified_secret_secret_fkey foreign key (secret_id)
        references token_service.client_secret (id) on delete cascade,
    -- An imported secret may be weak. An attacker who also has the sealing key could guess it from a MAC.
    constraint verified_secret_is_generated check (secret_id not like 'imported\_%'),
    constraint verified_secret_mac_length check (octet_length(mac) = 32),
    constraint verified_secret_dates_representable check (token_service.is_representable(verified_at))
);

comment on table token_service.verified_secret is
    'The generated secrets that were verified. A row is gone when its secret is revoked, ends or gets another digest.';
comment on column token_service.verified_secret.secret_id is 'The secret.';
comment on column token_service.verified_secret.mac is
    'HMAC-SHA-256 over the row of client_secret and the secret, under a key that follows from the sealing key. With this '
    'database alone nobody can verify a guess.';
comment on column token_service.verified_secret.sealing_key_id is 'The id of that configured sealing key.';
comment on column token_service.verified_secret.verified_at is 'When the secret was verified by its digest.';
