-- The two roles. token_service_admin is for people at psql: it reads, and changes through functions. token_service_app
-- is for the server: it reads what a request needs, and writes signing keys, revocations and counts of usage. Both are
-- groups; the logins of people and servers are members of them.
--
-- This file is applied before the tables exist, and again on every migrate.

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
                        hint = 'Have a superuser run: create role token_service_admin nologin; '
                               'create role token_service_app nologin;';
            end;
        end if;
    end loop;
end
$$;

-- Both roles lose all rights on functions. Each functions file then gives the rights under its definitions, so a right
-- that somebody granted by hand is gone. Nobody notices in between, because migrate is one transaction.
revoke all on all functions in schema token_service from public, token_service_admin, token_service_app;

revoke all on schema token_service from public, token_service_admin, token_service_app;
grant usage on schema token_service to token_service_admin, token_service_app;
