using Npgsql;
using TokenService.Postgres;
using TokenService.Tests.Admin;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Schema;

/// <summary>
/// The rights of the two roles, as matrices. A new table, column or function fails them until somebody has decided who
/// may use it.
/// </summary>
[TestFixture]
public sealed class Roles : AdminFixture
{
    private const string App = "token_service_app";
    private const string Admin = "token_service_admin";

    private const string Key =
        "kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, signs_from, jwks_max_age_seconds";

    private Login app = null!;
    private Login admin = null!;
    private Login stranger = null!;

    // The statements run as users who are members of the roles.
    private static IEnumerable<TestCaseData> Forbidden() =>
    [
        .. To(App,
            "insert into client (id, name) values ('a', 'a')",
            "update client set enabled = true",
            "delete from client",
            "truncate client cascade",
            "insert into client_secret (id, client_id, digest) values ('AAAAAAAAAAAA', 'billing', 'x')",
            "update client_secret set digest = digest",
            "update client_secret set revoked_at = null",
            "delete from client_secret",
            $"insert into client_key (client_id, kid, alg, public_jwk) values ('billing', 'a', 'ES256', '{PublicJwk.P256}')",
            "update client_key set revoked_at = null",
            "delete from client_key",
            "update client set sender_constraint = null, token_endpoint_audience_until = null",
            "update used_jti set expires_at = now()",
            "delete from used_jti",
            "truncate used_jti",
            "insert into resource (id) values ('https://a')",
            "update resource set signing_alg = null, sender_constraint = null",
            "delete from resource",
            "insert into scope (resource, name) values ('https://api.example.com', 'a')",
            "update scope set resource = resource",
            "delete from scope",
            "insert into client_scope (client_id, resource, scope) values ('billing', 'https://api.example.com', 'parcels:read')",
            "update client_scope set is_default = true",
            "delete from client_scope",
            "insert into policy default values",
            "update policy set max_secret_age = null",
            "delete from policy",
            "update resource set max_token_lifetime_seconds = null",
            "insert into resource_server (client_id, resource) values ('billing', 'https://api.example.com')",
            "delete from resource_server",
            "insert into tokens_not_before values ('billing', now())",
            "update tokens_not_before set not_before = now()",
            "delete from tokens_not_before",
            "update revoked_token set expires_at = now()",
            "insert into self_revocation values ('billing', now())",
            "select append_pending_changes()",
            "delete from audit_pending",
            "delete from revoked_token",
            "truncate revoked_token",
            "select from audit_log",
            "insert into audit_log (id) values (0)",
            "update audit_log set at = now()",
            "delete from audit_log",
            "truncate audit_log",
            "delete from signing_key",
            "truncate signing_key",
            "update signing_key set kid = kid",
            "update signing_key set alg = alg",
            "update signing_key set public_jwk = public_jwk",
            "update signing_key set withdrawn_at = null",
            "update signing_key set gone_after = null",
            "update signing_key set published_at = now()",
            "delete from credential_use",
            "delete from scope_use",
            "update migration set checksum = ''",
            "create table token_service.mine ()",
            "create function token_service.mine() returns int language sql as 'select 1'",
            "drop table client",
            "alter table client disable trigger all",
            "select add_secret('billing', 'AAAAAAAAAAAA', 'x')",
            "select add_key('billing', '{}')",
            "select revoke_key('billing', 'a')",
            "select require_sender_constraint('billing', null, 'none')",
            "select audit_findings()",
            "select end_tokens_of('billing', now())",
            "select revoke_client_tokens('billing')",
            "select register_resource_server('billing', 'https://api.example.com')",
            "select withdraw_signing_key('a')"),
        .. To(Admin,
            "select digest from client_secret",
            "select * from client_secret",
            "select sealed_private_key from signing_key",
            "select s from client_secret s",
            "copy client_secret to stdout",
            "insert into client (id, name) values ('a', 'a')",
            "update client set enabled = true",
            "delete from client",
            "truncate client cascade",
            "update client_secret set revoked_at = null",
            $"insert into client_key (client_id, kid, alg, public_jwk) values ('billing', 'a', 'ES256', '{PublicJwk.P256}')",
            "update client_key set revoked_at = null",
            "delete from client_key",
            "update client set sender_constraint = null, token_endpoint_audience_until = null",
            "update resource set sender_constraint = null",
            "select from used_jti",
            "insert into used_jti values (sha256(''), now())",
            "select delete_expired_jti(1)",
            "insert into audit_log (id) values (0)",
            "update audit_log set at = now()",
            "delete from audit_log",
            "truncate audit_log",
            "insert into policy default values",
            "update policy set max_secret_age = null",
            "update credential_use set use_count = 1",
            "insert into resource_server (client_id, resource) values ('billing', 'https://api.example.com')",
            "delete from tokens_not_before",
            "insert into revoked_token (jti, client_id, expires_at) values ('a', 'billing', now())",
            "delete from revoked_token",
            "select delete_expired(1)",
            "select end_tokens_of('billing', now())",
            "update signing_key set withdrawn_at = now()",
            "select record_change()",
            "select require_client('billing')",
            "select audit_image('{}', null)",
            "create table token_service.mine ()",
            "create function token_service.mine() returns int language sql as 'select 1'",
            "alter table audit_log disable trigger all",
            "alter function add_secret(text, text, text, text, timestamptz, timestamptz) security invoker",
            $"set role {App}"),
        .. To("",
            "select from token_service.client",
            "select token_service.credentials_report()",
            "select token_service.secret_ends_at(now(), null)",
            $"set role {Admin}"),
    ];

    private static IEnumerable<TestCaseData> Allowed() =>
    [
        .. To(App,
            "select digest from client_secret",
            "select sealed_private_key from signing_key",
            "select * from client, resource, scope, client_scope, policy, migration, credential_use, scope_use, resource_server, "
                + "revoked_token, client_not_before, client_key, used_jti",
            "insert into used_jti values (sha256('a'), now()) on conflict do nothing returning key",
            "select delete_expired_jti(100)",
            "select revoke_token('a', 'billing', now(), now())",
            // The previous build runs these while it is being replaced.
            "select * from tokens_not_before",
            "insert into revoked_token (jti, client_id, expires_at) values ('a', 'billing', now()) on conflict (jti) do nothing",
            "insert into credential_use as u values ('secret', 'UsedUsedUsed', 'billing', now(), now(), null, 1) "
                + "on conflict (kind, credential_id) do update set use_count = u.use_count + 1",
            "insert into scope_use as u values ('billing', 'https://api.example.com', 'parcels:read', now(), now(), 1) "
                + "on conflict (client_id, resource, scope) do update set use_count = u.use_count + 1",
            "select delete_expired(100)",
            "select secret_ends_at(created_at, expires_at) from client_secret",
            "select add_credential_use('{secret}', '{UsedUsedUsed}', '{1}', array[now()], array[now()], '{127.0.0.1}')",
            "select add_scope_use('{billing}', '{https://api.example.com}', '{parcels:read}', '{1}', array[now()], array[now()])",
            $"insert into signing_key ({Key}) values ('a', 'ES256', '{{}}', '', 'x', now(), now(), now(), 300)",
            "update signing_key set signs_until = now() + interval '1 day', max_token_lifetime_seconds = 60, sealing_key_id = 'y'"),
        .. To(Admin,
            "select id, client_id, label, not_before, expires_at, revoked_at, created_at from client_secret",
            "select kid, withdrawn_at from signing_key",
            "select * from client, resource, scope, client_scope, policy, migration, credential_use, scope_use, audit_log, "
                + "resource_server, revoked_token, tokens_not_before, self_revocation, client_not_before, audit_pending, client_key",
            "select append_pending_changes()",
            "select create_resource('https://api.example.com', p_max_token_lifetime => '5 minutes')",
            "select register_resource_server('billing', 'https://api.example.com'), "
                + "unregister_resource_server('billing', 'https://api.example.com')",
            "select revoke_client_tokens('billing'), set_client_enabled('billing', false), delete_client('billing')",
            "select create_client('made', 'Made', 'https://api.example.com', array['parcels:read']), "
                + $"add_secret('made', 'MadeByAdmin1', {Digest})",
            $"select rotate_secret('billing', 'MadeByAdmin2', {Digest})",
            "select set_policy(p_max_overlap => '10 days')",
            $"select add_key('billing', read_jwk('{PublicJwk.P256}'), 'a'), "
                + $"rotate_key('billing', '{PublicJwk.Ed25519}', p_newest_kid => newest_kid('billing')), revoke_key('billing', 'a')",
            "select require_sender_constraint('billing', null, 'dpop'), "
                + "require_sender_constraint(null, 'https://api.example.com', 'dpop'), "
                + "allow_token_endpoint_audience('billing', now() + interval '1 day')",
            "select * from credentials_report(), clients_report(), access_report(), audit_findings()",
            "select withdraw_signing_key('used')"),
    ];

    [OneTimeSetUp]
    public async Task LogIn()
    {
        await Database.ExecuteAsync(
            $"insert into token_service.signing_key ({Key}) values ('used', 'ES256', '{{}}', '', 'test', now(), now(), now(), 300)");
        app = await Login.CreateAsync(Database, App);
        admin = await Login.CreateAsync(Database, Admin);
        stranger = await Login.CreateAsync(Database, "");
    }

    [OneTimeTearDown]
    public async Task LogOut()
    {
        await app.DisposeAsync();
        await admin.DisposeAsync();
        await stranger.DisposeAsync();
    }

    [Test]
    public async Task Each_role_has_these_rights_on_tables() =>
        Assert.That(
            await RowsAsync(
                $"""
                select r.rolname, t.relname, string_agg(lower(p.privilege), ' ' order by p.privilege)
                from pg_class t
                cross join pg_roles r
                cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) as p (privilege)
                where t.relnamespace = 'token_service'::regnamespace
                  and t.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
                  and r.rolname in ('{App}', '{Admin}')
                  and has_table_privilege(r.oid, t.oid, p.privilege)
                group by r.rolname, t.relname
                order by r.rolname collate "C", t.relname collate "C"
                """),
            Is.EqualTo([
                $"{Admin} | audit_log | select",
                $"{Admin} | audit_pending | select",
                $"{Admin} | client | select",
                $"{Admin} | client_key | select",
                $"{Admin} | client_not_before | select",
                $"{Admin} | client_scope | select",
                $"{Admin} | credential_use | select",
                $"{Admin} | functions_file | select",
                $"{Admin} | migration | select",
                $"{Admin} | policy | select",
                $"{Admin} | resource | select",
                $"{Admin} | resource_server | select",
                $"{Admin} | revoked_token | select",
                $"{Admin} | scope | select",
                $"{Admin} | scope_use | select",
                $"{Admin} | self_revocation | select",
                $"{Admin} | tokens_not_before | select",
                $"{App} | client | select",
                $"{App} | client_key | select",
                $"{App} | client_not_before | select",
                $"{App} | client_scope | select",
                $"{App} | client_secret | select",
                $"{App} | credential_use | insert select update",
                $"{App} | migration | select",
                $"{App} | policy | select",
                $"{App} | resource | select",
                $"{App} | resource_server | select",
                $"{App} | revoked_token | insert select",
                $"{App} | scope | select",
                $"{App} | scope_use | insert select update",
                $"{App} | signing_key | insert select",
                $"{App} | tokens_not_before | select",
                $"{App} | used_jti | insert select",
                $"{App} | verified_secret | select",
            ]));

    [Test]
    public async Task Each_role_has_these_rights_on_columns_beyond_those_on_their_table() =>
        Assert.That(
            await RowsAsync(
                $"""
                select r.rolname, t.relname, lower(p.privilege), string_agg(a.attname, ' ' order by a.attnum)
                from pg_class t
                join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
                cross join pg_roles r
                cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) as p (privilege)
                where t.relnamespace = 'token_service'::regnamespace
                  and t.relkind in ('r', 'p', 'v', 'm', 'f')
                  and r.rolname in ('{App}', '{Admin}')
                  and has_column_privilege(r.oid, t.oid, a.attnum, p.privilege)
                  and not has_table_privilege(r.oid, t.oid, p.privilege)
                group by r.rolname, t.relname, p.privilege
                order by r.rolname collate "C", t.relname collate "C", p.privilege
                """),
            Is.EqualTo([
                $"{Admin} | client_secret | select | id client_id label not_before expires_at revoked_at created_at",
                $"{Admin} | signing_key | select | kid alg public_jwk sealing_key_id published_at known_from signs_from "
                    + "signs_until gone_after withdrawn_at jwks_max_age_seconds max_token_lifetime_seconds ends_by",
                $"{App} | signing_key | update | sealed_private_key sealing_key_id signs_from signs_until max_token_lifetime_seconds",
            ]));

    [Test]
    public async Task Each_role_may_execute_these_functions() =>
        Assert.That(
            await RowsAsync(
                $"""
                select p.proname, nullif(concat_ws(' ',
                    case when has_function_privilege('{Admin}', p.oid, 'execute') then 'admin' end,
                    case when has_function_privilege('{App}', p.oid, 'execute') then 'app' end,
                    case when p.prosecdef then 'as owner' end), '')
                from pg_proc p
                where p.pronamespace = 'token_service'::regnamespace
                order by p.proname collate "C"
                """),
            Is.EqualTo([
                "access_report | admin as owner",
                "add_credential_use | app as owner",
                "add_key | admin as owner",
                "add_scope_use | app as owner",
                "add_secret | admin as owner",
                "algorithm_signs_from | admin as owner",
                "allow_token_endpoint_audience | admin as owner",
                "append_pending_changes | admin as owner",
                "append_to_audit_log | -",
                "are_authentication_methods | -",
                "attach_triggers | -",
                "audit_findings | admin as owner",
                "audit_hash | -",
                "audit_image | -",
                "clients_report | admin as owner",
                "create_client | admin as owner",
                "create_resource | admin as owner",
                "credentials_report | admin as owner",
                "delete_client | admin as owner",
                "delete_expired | app as owner",
                "delete_expired_jti | app as owner",
                "end_tokens_of | -",
                "end_tokens_of_withdrawn_client | -",
                "ensure_trigger | -",
                "forget_usage | -",
                "forget_verified_secret | -",
                "grant_scope | admin as owner",
                "has_live_key | -",
                "idle_secrets | -",
                "instant | -",
                "is_access_token_typ | -",
                "is_argon2id_digest | -",
                "is_assertion_algorithm | -",
                "is_client_id | -",
                "is_client_kid | -",
                "is_digest_cost | -",
                "is_max_overlap | -",
                "is_max_secret_age | -",
                "is_public_jwk | -",
                "is_representable | app",
                "is_resource_id | -",
                "is_scope_token | -",
                "is_secret_id | -",
                "is_sender_constraint | -",
                "is_shallow | app",
                "is_short_text | -",
                "is_signing_algorithm | app",
                "is_simple_client_id | -",
                "is_small_object | -",
                "is_token_lifetime | -",
                "is_tokens_per_minute | -",
                "jwk_algorithm | -",
                "jwk_thumbprint | -",
                "keep_last_use | -",
                "keep_verified_secrets | app as owner",
                "lock_signing_keys | app as owner",
                "looks_private | admin",
                "newest_kid | admin as owner",
                "newest_secret_id | admin as owner",
                "notify_change | -",
                "public_members | -",
                "read_jwk | admin",
                "record_change | as owner",
                "register_resource_server | admin as owner",
                "require_client | -",
                "require_client_id | -",
                "require_client_properties | -",
                "require_dates | -",
                "require_idle_time | -",
                "require_new_kid | -",
                "require_new_secret | -",
                "require_overlap | -",
                "require_public_jwk | -",
                "require_resource | -",
                "require_scope_token | -",
                "require_sender_constraint | admin as owner",
                "require_token_lifetime | -",
                "reserved_among | -",
                "reserved_claims | -",
                "resource_of_scope | -",
                "retire_unused_secrets | admin as owner",
                "revoke_client_tokens | admin as owner",
                "revoke_key | admin as owner",
                "revoke_scope | admin as owner",
                "revoke_secret | admin as owner",
                "revoke_token | app as owner",
                "rotate_key | admin as owner",
                "rotate_secret | admin as owner",
                "rotate_signing_key | admin as owner",
                "secret_ends_at | app",
                "set_client_enabled | admin as owner",
                "set_policy | admin as owner",
                "set_signing_key_gone_after | -",
                "unregister_resource_server | admin as owner",
                "update_client | admin as owner",
                "warn_of_client_id | -",
                "withdraw_signing_key | admin as owner",
                "without_secret | -",
            ]));

    [Test]
    public async Task A_user_without_a_role_has_no_right() =>
        Assert.That(
            await RowsAsync(
                $"""
                select p.proname from pg_proc p
                where p.pronamespace = 'token_service'::regnamespace and has_function_privilege('{stranger.Name}', p.oid, 'execute')
                union all
                select t.relname from pg_class t
                where t.relnamespace = 'token_service'::regnamespace
                  and t.relkind in ('r', 'p', 'v', 'm', 'f')
                  and has_any_column_privilege('{stranger.Name}', t.oid, 'select, insert, update, references')
                union all
                select 'usage' where has_schema_privilege('{stranger.Name}', 'token_service', 'usage, create')
                """),
            Is.Empty);

    [Test]
    public async Task The_roles_are_groups_with_no_powers_of_their_own() =>
        Assert.That(
            await RowsAsync(
                $"""
                select rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
                       has_schema_privilege(oid, 'token_service', 'create')
                from pg_roles where rolname in ('{App}', '{Admin}') order by 1
                """),
            Is.EqualTo([
                $"{Admin} | False | False | False | False | False | False | False",
                $"{App} | False | False | False | False | False | False | False",
            ]));

    // An open transaction of any session holds up an admin for these seconds at most. Functions that only read wait for
    // nobody.
    [Test]
    public async Task Every_function_that_changes_something_for_an_admin_waits_at_most_5_seconds_for_a_lock() =>
        Assert.That(
            await RowsAsync(
                $"""
                select proname, proconfig
                from pg_proc
                where pronamespace = 'token_service'::regnamespace
                  and (has_function_privilege('{Admin}', oid, 'execute') and provolatile = 'v' or proname = 'record_change')
                  and array['lock_timeout=5s'] <@ proconfig is not true
                """),
            Is.Empty);

    // This holds for every function: one that runs with the owner's rights may call one that does not.
    [Test]
    public async Task Every_function_searches_pg_catalog_first_and_pg_temp_last() =>
        Assert.That(
            await RowsAsync(
                """
                select proname, proconfig, prosecdef
                from pg_proc
                where pronamespace = 'token_service'::regnamespace
                  and array['search_path=pg_catalog, token_service, pg_temp'] <@ proconfig is not true
                  -- A function that uses no table needs only pg_catalog.
                  and (array['search_path=pg_catalog'] <@ proconfig is not true or prosecdef)
                """),
            Is.Empty);

    [TestCaseSource(nameof(Forbidden))]
    public void A_statement_outside_the_rights_of_a_role_is_refused(string role, string sql) =>
        Assert.That(
            () => TryAsync(role, sql),
            Throws.TypeOf<PostgresException>()
                .With.Property(nameof(PostgresException.SqlState)).EqualTo(PostgresErrorCodes.InsufficientPrivilege));

    [TestCaseSource(nameof(Allowed))]
    public void A_statement_within_the_rights_of_a_role_succeeds(string role, string sql) =>
        Assert.That(() => TryAsync(role, sql), Throws.Nothing);

    [Test]
    public async Task A_function_ignores_the_temporary_tables_and_functions_of_its_caller()
    {
        await using var connection = await admin.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var attack = new NpgsqlCommand(
            $"""
            create temp table client (id text, name text, enabled boolean default true);
            insert into client (id) values ('phantom');
            create temp table client_secret (id text, client_id text, digest text, revoked_at timestamptz);
            create temp table policy as select * from token_service.policy;
            update policy set max_overlap = '999 days';
            create temp table audit_log (like token_service.audit_log);
            create function pg_temp.now() returns timestamptz language sql as 'select ''-infinity''::timestamptz';
            create function pg_temp.require_client(text) returns void language sql as '';
            create function pg_temp.is_argon2id_digest(text) returns boolean language sql as 'select true';
            create function pg_temp.char_length(text) returns integer language sql as 'select 1';
            set search_path = pg_temp, token_service, pg_catalog;
            savepoint attack
            """, connection, transaction);
        await attack.ExecuteNonQueryAsync();

        await IsRefusedAsync("add_secret('phantom', 'AAAAAAAAAAAA', 'x')", "There is no client \"phantom\".");
        await IsRefusedAsync("add_secret('billing', 'AAAAAAAAAAAA', 'x')", "The digest of client \"billing\" is not an Argon2id digest.");
        await IsRefusedAsync(
            $"add_secret('billing', 'AAAAAAAAAAAA', {Digest}, repeat('x', 201))",
            "The label of the secret is empty or longer than 200 characters.");
        await IsRefusedAsync(
            $"rotate_secret('billing', 'AAAAAAAAAAAA', {Digest}, '31 days')",
            "The overlap is longer than 30 days, the longest the policy allows.");

        attack.CommandText = $"select token_service.add_secret('billing', 'AAAAAAAAAAAA', {Digest}); set constraints all immediate";
        await attack.ExecuteNonQueryAsync();
        attack.CommandText =
            """
            select concat_ws(' ', (select count(*) from pg_temp.client_secret), (select count(*) from pg_temp.audit_log),
                (select count(*) from token_service.audit_log where row_key = 'AAAAAAAAAAAA'))
            """;
        Assert.That(await attack.ExecuteScalarAsync(), Is.EqualTo("0 0 1"));

        async Task IsRefusedAsync(string call, string message)
        {
            attack.CommandText = $"select token_service.{call}";
            var refusal = await Assert.ThrowsAsync<PostgresException>(async () => await attack.ExecuteScalarAsync());
            Assert.That(refusal!.MessageText, Is.EqualTo(message));
            await transaction.RollbackAsync("attack");
        }
    }

    [Test]
    public async Task The_migrator_without_the_right_to_create_roles_says_what_to_run()
    {
        var (roles, names) = CreationOfRoles();
        var refusal = await Assert.ThrowsAsync<PostgresException>(() => stranger.ExecuteAsync(roles));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(refusal!.SqlState, Is.EqualTo(PostgresErrorCodes.InsufficientPrivilege));
            Assert.That(refusal.MessageText, Is.EqualTo($"There is no role {names[0]}, and the migrating user may not create it."));
            Assert.That(refusal.Hint, Is.EqualTo($"Have a superuser run: create role {names[0]} nologin; create role {names[1]} nologin;"));
        }
    }

    [Test]
    public async Task The_migrator_needs_no_right_to_create_roles_that_exist()
    {
        var (roles, names) = CreationOfRoles();
        try
        {
            await Database.ExecuteAsync(string.Concat(names.Select(name => $"create role {name} nologin;")));
            Assert.That(() => stranger.ExecuteAsync(roles), Throws.Nothing);
        }
        finally
        {
            await Database.ExecuteAsync(string.Concat(names.Select(name => $"drop role if exists {name};")));
        }
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Two_databases_of_a_cluster_may_be_migrated_at_the_same_time(bool firstSucceeds)
    {
        var (roles, names) = CreationOfRoles();
        try
        {
            await using var connection = await Database.Source.OpenConnectionAsync();
            await using var transaction = await connection.BeginTransactionAsync();
            await using var first = new NpgsqlCommand(roles, connection, transaction);
            await first.ExecuteNonQueryAsync();

            await using var other = await Database.CreateEmptyAsync();
            var second = other.ExecuteAsync(roles);
            await Soon.IsAsync("the second waits for the first", () => Database.ReadAsync<bool>(
                $"""
                select exists (
                    select from pg_stat_activity
                    where wait_event_type = 'Lock' and query like '%{names[0]}%' and pid <> pg_backend_pid())
                """));
            await (firstSucceeds ? transaction.CommitAsync() : transaction.RollbackAsync());

            await second;
            Assert.That(
                await Database.ReadAsync<int>($"select count(*) from pg_roles where rolname in ('{names[0]}', '{names[1]}')"),
                Is.EqualTo(2));
        }
        finally
        {
            await Database.ExecuteAsync(string.Concat(names.Select(name => $"drop role if exists {name};")));
        }
    }

    // The statement with which roles.sql makes the roles, with other names: the real roles exist for every test.
    private static (string Sql, string[] Names) CreationOfRoles()
    {
        var file = DatabaseSchema.OfThisBuild.Functions.Single(found => found.Name == "roles").Sql;
        var prefix = $"tsvc_test_{Guid.NewGuid():N}";
        var sql = file[file.IndexOf("do $$", StringComparison.Ordinal)..(file.IndexOf("$$;", StringComparison.Ordinal) + 3)];
        return (sql.Replace("token_service", prefix, StringComparison.Ordinal), [$"{prefix}_admin", $"{prefix}_app"]);
    }

    // Undoes the changes of the statement afterwards.
    private async Task TryAsync(string role, string sql)
    {
        var login = role switch { App => app, Admin => admin, _ => stranger };
        await using var connection = await login.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var command = new NpgsqlCommand(
            $"set local search_path = token_service; {sql}; set constraints all immediate", connection, transaction);
        await command.ExecuteNonQueryAsync();
        await transaction.RollbackAsync();
    }

    private static IEnumerable<TestCaseData> To(string role, params string[] statements) =>
        statements.Select(sql => new TestCaseData(role, sql).SetArgDisplayNames(role, sql));
}
