-- A date outside the years 1900 to 9000 is refused in every table, because a row with a date that .NET cannot represent
-- would keep every replica from reading its table.

alter table token_service.migration
    add constraint migration_dates_representable check (token_service.is_representable(applied_at));

alter table token_service.functions_file
    add constraint functions_file_dates_representable check (token_service.is_representable(applied_at));

alter table token_service.policy
    add constraint policy_dates_representable check (token_service.is_representable(usage_counted_since));

alter table token_service.client
    add constraint client_dates_representable check (token_service.is_representable(created_at));

alter table token_service.client_secret
    drop constraint client_secret_dates_representable,
    add constraint client_secret_dates_representable check (
        token_service.is_representable(not_before)
        and token_service.is_representable(expires_at)
        and token_service.is_representable(revoked_at)
        and token_service.is_representable(created_at)
    );

alter table token_service.resource
    add constraint resource_dates_representable check (token_service.is_representable(created_at));

alter table token_service.scope
    add constraint scope_dates_representable check (token_service.is_representable(created_at));

alter table token_service.client_scope
    add constraint client_scope_dates_representable check (token_service.is_representable(created_at));

alter table token_service.resource_server
    add constraint resource_server_dates_representable check (token_service.is_representable(created_at));

alter table token_service.signing_key
    add constraint signing_key_dates_representable check (
        token_service.is_representable(published_at)
        and token_service.is_representable(known_from)
        and token_service.is_representable(signs_from)
        and token_service.is_representable(signs_until)
        and token_service.is_representable(gone_after)
        and token_service.is_representable(withdrawn_at)
    );

-- For the same reason: .NET reads JSON of up to 64 levels.
alter table token_service.signing_key
    add constraint signing_key_public_jwk_depth check (token_service.is_shallow(public_jwk));

alter table token_service.revoked_token
    add constraint revoked_token_dates_representable check (
        token_service.is_representable(expires_at)
        and token_service.is_representable(revoked_at)
    );

alter table token_service.tokens_not_before
    rename constraint tokens_not_before_representable to tokens_not_before_dates_representable;

alter table token_service.credential_use
    add constraint credential_use_dates_representable check (
        token_service.is_representable(first_used_at)
        and token_service.is_representable(last_used_at)
    );

alter table token_service.scope_use
    add constraint scope_use_dates_representable check (
        token_service.is_representable(first_used_at)
        and token_service.is_representable(last_used_at)
    );

alter table token_service.audit_log
    add constraint audit_log_dates_representable check (token_service.is_representable(at));


-- These functions took the present instant as an argument, with which an admin could write any date. The files of
-- functions make them again without it.
drop function if exists
    token_service.rotate_secret(text, text, text, interval, text, timestamptz, timestamptz, text, timestamptz),
    token_service.revoke_secret(text, text, timestamptz),
    token_service.retire_unused_secrets(interval, boolean, timestamptz),
    token_service.set_policy(interval, interval, integer, boolean, timestamptz),
    token_service.rotate_signing_key(text, timestamptz),
    token_service.withdraw_signing_key(text, timestamptz),
    token_service.secrets_report(text, interval, interval, timestamptz),
    token_service.clients_report(text, timestamptz),
    token_service.access_report(interval, timestamptz);
