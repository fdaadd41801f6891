-- Who may do what: token_service_admin, through functions; token_service_app, the service, which reads what a request needs and writes
-- signing keys and counts of use. Both are group roles, for the logins of people and replicas to be members of.

do $$
declare
    v_role text;
begin
    foreach v_role in array array['token_service_admin', 'token_service_app'] loop
        if not exists (select from pg_roles where rolname = v_role) then
            begin
                execute format('create role %I nologin', v_role);
            exception
                when duplicate_object or unique_violation then
                    null; -- another database of this cluster is being migrated at the same time
                when insufficient_privilege then
                    raise exception 'There is no role %, and the migrating user may not create it.', v_role
                        using errcode = 'insufficient_privilege',
                        hint = 'Have a superuser run: create role token_service_admin nologin; create role token_service_app nologin;';
            end;
        end if;
    end loop;
end
$$;

comment on schema token_service is 'TokenService, an OAuth 2.0 authorization server. Roles: token_service_admin, token_service_app.';

grant usage on schema token_service to token_service_admin, token_service_app;


-- The service.

grant select on
    token_service.migration,
    token_service.policy,
    token_service.client,
    token_service.client_secret,
    token_service.resource,
    token_service.scope,
    token_service.client_scope,
    token_service.signing_key
to token_service_app;

grant select, insert, update on token_service.secret_use, token_service.scope_use to token_service_app;

grant insert on token_service.signing_key to token_service_app;
-- Not kid, alg or public_jwk, which never change, nor withdrawn_at, which is an admin's word.
grant update (signs_from, signs_until, longest_token_seconds, sealed_private_key, sealing_key_id)
    on token_service.signing_key to token_service_app;


-- Admins, who see no digest and no private key, and change only through functions.

grant select on
    token_service.migration,
    token_service.policy,
    token_service.client,
    token_service.resource,
    token_service.scope,
    token_service.client_scope,
    token_service.secret_use,
    token_service.scope_use,
    token_service.audit_log
to token_service_admin;

grant select (id, client_id, label, not_before, expires_at, revoked_at, created_at)
    on token_service.client_secret to token_service_admin;

grant select (
    kid, alg, public_jwk, sealing_key_id, published_at, known_from, signs_from, signs_until, gone_after, withdrawn_at,
    jwks_max_age_seconds, longest_token_seconds)
    on token_service.signing_key to token_service_admin;


-- Functions: PostgreSQL lets everybody execute a new one, so every migration that makes one must say this again.

revoke execute on all functions in schema token_service from public;

grant execute on function token_service.secret_ends_at(timestamptz, timestamptz) to token_service_app;

do $$
declare
    v_function regprocedure;
begin
    -- With the owner's rights, so that an admin needs none on the tables.
    foreach v_function in array array[
        'token_service.create_client(text, text, text, text[], text, text, text[], text[])',
        'token_service.update_client(text, text, interval, text[], jsonb, integer)',
        'token_service.set_client_enabled(text, boolean)',
        'token_service.delete_client(text)',
        'token_service.add_secret(text, text, text, text, timestamptz, timestamptz)',
        'token_service.newest_secret_id(text)',
        'token_service.rotate_secret(text, text, text, interval, text, timestamptz, timestamptz, text, timestamptz)',
        'token_service.revoke_secret(text, text, timestamptz)',
        'token_service.retire_unused_secrets(interval, boolean, timestamptz)',
        'token_service.create_resource(text, text[], text)',
        'token_service.grant_scope(text, text, boolean)',
        'token_service.revoke_scope(text, text)',
        'token_service.set_policy(interval, interval, integer, boolean, timestamptz)',
        'token_service.clients_report(text, timestamptz)',
        'token_service.secrets_report(text, interval, interval, timestamptz)',
        'token_service.access_report(interval, timestamptz)',
        'token_service.audit_findings(bigint, text)',
        'token_service.rotate_signing_key(text, timestamptz)',
        'token_service.withdraw_signing_key(text, timestamptz)'
    ]::regprocedure[] loop
        execute format('alter function %s security definer', v_function);
        execute format('grant execute on function %s to token_service_admin', v_function);
    end loop;
end
$$;
