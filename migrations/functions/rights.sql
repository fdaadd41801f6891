-- The rights on tables. The rights on a function stand under its definition.

-- First both roles lose all rights, so that they have only the rights below: a right that was granted by hand, or by an
-- older version of this file, is gone. Requests do not notice, because all of this is one transaction.
revoke all on all tables in schema token_service from public, token_service_admin, token_service_app;


-- The server.

grant select on
    token_service.client,
    token_service.client_key,
    token_service.client_not_before,
    token_service.client_scope,
    token_service.client_secret,
    token_service.credential_use,
    token_service.migration,
    token_service.policy,
    token_service.resource,
    token_service.resource_server,
    token_service.revoked_token,
    token_service.scope,
    token_service.scope_use,
    token_service.signing_key,
    token_service.used_jti,
    token_service.verified_secret
to token_service_app;

-- RETURNING needs the right to read, too. The function delete_expired_jti deletes.
grant insert on token_service.used_jti to token_service_app;

-- The previous build writes these tables itself and reads the second half of client_not_before. It may, while it is being
-- replaced; the next release takes these rights away.
grant insert on token_service.revoked_token to token_service_app;
grant insert, update on token_service.credential_use, token_service.scope_use to token_service_app;
grant select on token_service.tokens_not_before to token_service_app;

-- The server may not update kid, alg and public_jwk, which never change, nor withdrawn_at, which only an admin sets.
grant insert on token_service.signing_key to token_service_app;
grant update (signs_from, signs_until, max_token_lifetime_seconds, sealed_private_key, sealing_key_id)
    on token_service.signing_key to token_service_app;


-- Admins. They see no digest and no private key, and change things only through functions.

grant select on
    token_service.audit_log,
    token_service.audit_pending,
    token_service.client,
    token_service.client_key,
    token_service.client_not_before,
    token_service.client_scope,
    token_service.credential_use,
    token_service.functions_file,
    token_service.migration,
    token_service.policy,
    token_service.resource,
    token_service.resource_server,
    token_service.revoked_token,
    token_service.scope,
    token_service.scope_use,
    token_service.self_revocation,
    token_service.tokens_not_before
to token_service_admin;

grant select (id, client_id, label, not_before, expires_at, revoked_at, created_at)
    on token_service.client_secret to token_service_admin;

grant select (
    kid, alg, public_jwk, sealing_key_id, published_at, known_from, signs_from, signs_until, gone_after, ends_by,
    withdrawn_at, jwks_max_age_seconds, max_token_lifetime_seconds)
    on token_service.signing_key to token_service_admin;
