using System.Text.RegularExpressions;
using Dapper;
using Npgsql;
using TokenService.Configuration;
using TokenService.Postgres;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Schema;

/// <summary>The migrator brings a database to the schema that this build needs.</summary>
[TestFixture]
public sealed partial class Migrations
{
    private const string NothingUpgrades =
        "The schema was squashed into fewer migrations then, and no upgrade exists. Make a new database, run TokenService migrate on it, "
        + "and create the clients again.";

    private static readonly DatabaseSchema Schema = DatabaseSchema.OfThisBuild;
    private static readonly int Count = Schema.Migrations.Count;
    private static readonly string[] FileNames =
        [.. Schema.Migrations.Select(migration => migration.Name), .. Schema.Functions.Select(file => $"functions/{file.Name}")];

    // The migrations as the last version before the squash recorded them.
    private const string OldVersion =
        """
        create schema token_service;

        create table token_service.migration (
            number     integer     not null,
            name       text        not null,
            checksum   text        not null,
            applied_at timestamptz not null default now(),

            constraint migration_pkey primary key (number)
        );

        grant usage on schema token_service to token_service_app;
        grant select on token_service.migration to token_service_app;

        insert into token_service.migration (number, name, checksum, applied_at) values
            (1, '0001_schema', '9db29faa35056289c4c15e2895edbc887898fbb58c69afcc73e7fbac6e9b0e17', '2026-11-30 12:00:15.035375+00'),
            (2, '0002_admin_functions', '0ea60cf9937ed54a8ac33880d2a6c5a076978d310d9aff59f9fa555f9b07ece2',
                '2026-11-30 12:00:15.067443+00'),
            (3, '0003_signing_key_functions', '0a69620baed758e02b712e541e9953a5b89d7ea012515bc54518a3fa87c9443f',
                '2026-11-30 12:00:15.070266+00'),
            (4, '0004_policy_use_and_claims', '69f4dc3e424ae252e91159222e2f3bbec405b37e3929f912c8b4cf40b9566ff1',
                '2026-11-30 12:00:15.087576+00'),
            (5, '0005_audit_log', '7d3f7b93f476d2e4bdbb2f93356f17bd3bb703cc25bc49d69f80b64cfa541eb7', '2026-11-30 12:00:15.102637+00'),
            (6, '0006_admin_functions', '871c938c079689a38a269e0d68655dd18c992869464425a6e7f1895b062b448f',
                '2026-11-30 12:00:15.115402+00'),
            (7, '0007_roles', 'bb45bcbc5925b9830e93194e187b4d127d4f8f558336b12b8c8665c07c9c5459', '2026-11-30 12:00:15.125881+00'),
            (8, '0008_resource_servers_and_revocation', 'b84481e07dabbcf936a6f1453ebd78c2b806f52d997c979ecd98925a4ff40bea',
                '2026-11-30 12:00:15.138545+00'),
            (9, '0009_admin_of_tokens', 'eea6359b0b5226784c0f7d774e58e38e2f1ecb53fac4f1c677e536ad2a606c31',
                '2026-11-30 12:00:15.153229+00');
        """;

    // Every trigger of the schema, with a number that changes when it is made again.
    private const string Triggers =
        """
        select string_agg(format('%s %s', oid, tgname), ', ' order by oid)
        from pg_trigger
        where not tgisinternal
          and tgrelid in (select oid from pg_class where relnamespace = 'token_service'::regnamespace)
        """;

    private Database database = null!;

    // A pool of its own: the pool of the migrators releases the locks of a connection only when it is used again.
    private NpgsqlDataSource observer = null!;

    [SetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateEmptyAsync();
        observer = NpgsqlDataSource.Create(database.ConnectionString);
    }

    [TearDown]
    public async Task DropDatabase()
    {
        await observer.DisposeAsync();
        await database.DisposeAsync();
    }

    [Test]
    public async Task An_empty_database_is_given_every_file_once()
    {
        var first = await MigrateAsync();
        var triggers = await database.ReadAsync<string>(Triggers);
        var second = await MigrateAsync();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(first.Applied, Is.EqualTo(FileNames));
            Assert.That(second.Applied, Is.Empty);
            Assert.That((first.NewerSchema, second.NewerSchema), Is.EqualTo(((int?)null, (int?)null)));
            Assert.That(await AppliedAsync(), Is.EqualTo(string.Join(' ', Schema.Migrations.Select(migration => migration.Name))));
            // Making a trigger takes a lock for which every request that writes would wait.
            Assert.That(await database.ReadAsync<string>(Triggers), Is.EqualTo(triggers), "no trigger is made again");
        }
    }

    [Test]
    public void The_build_contains_the_files_of_the_folder()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(
                Schema.Migrations.Select(migration => (migration.Name + ".sql", migration.Sql)), Is.EqualTo(FilesOf("migrations")));
            Assert.That(
                Schema.Functions.Select(file => (file.Name + ".sql", file.Sql)), Is.EquivalentTo(FilesOf("migrations", "functions")));
        }

        static IEnumerable<(string, string)> FilesOf(params string[] folder) =>
            Directory.GetFiles(Repository.PathTo(folder), "*.sql").Order(StringComparer.Ordinal)
                .Select(file => (Path.GetFileName(file), File.ReadAllText(file)));
    }

    // When a function is defined twice, the order of the files decides which definition holds. The database has no
    // other function.
    [Test]
    public async Task Each_function_is_defined_once_in_one_file()
    {
        await MigrateAsync();
        var defined = Schema.Functions.SelectMany(file => Definition().Matches(file.Sql)).Select(match => match.Groups[1].Value);
        await using var connection = await database.Source.OpenConnectionAsync();
        var there = await connection.QueryAsync<string>("select proname from pg_proc where pronamespace = 'token_service'::regnamespace");
        Assert.That(defined, Is.EquivalentTo(there).And.Unique);
    }

    [Test]
    public async Task A_file_that_changed_after_it_was_applied_is_refused()
    {
        await MigrateAsync();
        var original = Schema.Migrations[0];
        var changed = new Migration(original.Number, original.Name, original.Sql + "-- a comment");

        Assert.That(
            () => MigrateAsync(Schema with
            {
                Migrations = [changed, .. Schema.Migrations.Skip(1), Next("create table token_service.next ()")],
            }),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                $"Migration {original.Name} is not the one this database was given: its checksum then was {original.Checksum}, now it is "
                + $"{changed.Checksum}. Restore the file, and put the change into a new migration."));
        Assert.That(await ExistsAsync("token_service.next"), Is.False);
    }

    [Test]
    public async Task A_migration_that_fails_leaves_the_database_as_it_was()
    {
        await MigrateAsync();
        var before = new Migration(Count + 1, "9998_before", "create table token_service.before ()");
        var failing = new Migration(Count + 2, "9999_failing", "create table token_service.failing (); select 1 / 0");

        Assert.That(
            () => MigrateAsync(Schema with { Migrations = [.. Schema.Migrations, before, failing] }),
            Throws.TypeOf<PostgresException>()
                .With.Property(nameof(PostgresException.SqlState)).EqualTo(PostgresErrorCodes.DivisionByZero));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(await ExistsAsync("token_service.before"), Is.False);
            Assert.That(await ExistsAsync("token_service.failing"), Is.False);
            Assert.That(await AppliedAsync(), Does.Not.Contain("9998"));
            Assert.That(await LocksAsync("granted"), Is.Zero);
        }
    }

    [Test]
    public async Task A_changed_functions_file_is_applied_again_and_reported()
    {
        await MigrateAsync();
        var changed = WithFunction("newest_secret_id", "select 'changed'::text");

        Assert.That((await MigrateAsync(changed)).Applied, Is.EqualTo(["functions/secrets"]));
        Assert.That(await NewestSecretAsync(), Is.EqualTo("changed"));
        Assert.That((await MigrateAsync(changed)).Applied, Is.Empty);
        Assert.That((await MigrateAsync()).Applied, Is.EqualTo(["functions/secrets"]), "a build without the change restores its own");
        Assert.That(await NewestSecretAsync(), Is.Null);
    }

    // Somebody may replace a function by hand in an emergency.
    [Test]
    public async Task A_function_that_was_replaced_by_hand_is_restored()
    {
        await MigrateAsync();
        await database.ExecuteAsync(
            """
            create or replace function token_service.newest_secret_id(p_client_id text) returns text language sql as $$ select 'replaced' $$
            """);
        Assert.That(await NewestSecretAsync(), Is.EqualTo("replaced"));

        Assert.That((await MigrateAsync()).Applied, Is.Empty);
        Assert.That(await NewestSecretAsync(), Is.Null);
    }

    [TestCase("drop trigger client_notify on token_service.client")]
    [TestCase("drop trigger client_audit_truncate on token_service.client")]
    [TestCase("alter table token_service.client disable trigger client_audit")]
    [TestCase(
        "drop trigger client_notify on token_service.client; create trigger client_notify after insert on token_service.client "
        + "for each row execute function token_service.notify_change('other')")]
    public async Task A_trigger_that_was_dropped_changed_or_disabled_by_hand_is_restored(string change)
    {
        await MigrateAsync();
        const string Definitions =
            """
            select string_agg(pg_get_triggerdef(oid) || tgenabled::text, ', ' order by tgname) from pg_trigger
            where tgrelid = 'token_service.client'::regclass and not tgisinternal
            """;
        var before = await database.ReadAsync<string>(Definitions);
        await database.ExecuteAsync(change);
        Assert.That(await database.ReadAsync<string>(Definitions), Is.Not.EqualTo(before));

        await MigrateAsync();
        Assert.That(await database.ReadAsync<string>(Definitions), Is.EqualTo(before));
    }

    [Test]
    public async Task A_functions_file_that_fails_undoes_all_functions_files_and_migrations()
    {
        await MigrateAsync();
        var changed = WithFunction("newest_secret_id", "select 'changed'::text") with
        {
            Migrations = [.. Schema.Migrations, Next("create table token_service.next ()")],
        };
        var failing = new FunctionsFile(
            "zz_failing", "create function token_service.failing() returns int language sql as 'select 1'; select 1 / 0");

        Assert.That(
            () => MigrateAsync(changed with { Functions = [.. changed.Functions, failing] }),
            Throws.TypeOf<PostgresException>()
                .With.Property(nameof(PostgresException.SqlState)).EqualTo(PostgresErrorCodes.DivisionByZero));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(await NewestSecretAsync(), Is.Null);
            // A server would start on the new tables, and find old functions.
            Assert.That(await ExistsAsync("token_service.next"), Is.False);
            Assert.That(await AppliedAsync(), Does.Not.Contain("9999"));
            Assert.That(await database.ReadAsync<bool>("select to_regproc('token_service.failing') is null"), Is.True);
            Assert.That((await MigrateAsync()).Applied, Is.Empty, "the changed file was not recorded");
            Assert.That(await LocksAsync("granted"), Is.Zero);
        }
    }

    // A right that was revoked; a right that was granted; all rights revoked, as after a restore of a dump without
    // rights.
    [TestCase("revoke select on token_service.client_secret from token_service_app")]
    [TestCase("revoke update (signs_until) on token_service.signing_key from token_service_app")]
    [TestCase("revoke execute on function token_service.secret_ends_at from token_service_app")]
    [TestCase("grant insert on token_service.client to token_service_app")]
    [TestCase("grant select on token_service.client_secret to token_service_admin, public")]
    [TestCase("grant execute on function token_service.add_secret to public")]
    [TestCase("grant execute on function token_service.add_secret to token_service_app")]
    [TestCase(
        "revoke all on all tables in schema token_service from token_service_admin, token_service_app; "
        + "revoke all on all functions in schema token_service from token_service_admin, token_service_app; "
        + "revoke all on schema token_service from token_service_admin, token_service_app")]
    [TestCase("alter function token_service.add_secret security invoker")]
    public async Task Rights_that_were_changed_by_hand_are_restored(string change)
    {
        await MigrateAsync();
        var before = await RightsAsync();
        await database.ExecuteAsync(change);
        Assert.That(await RightsAsync(), Is.Not.EqualTo(before));

        Assert.That((await MigrateAsync()).Applied, Is.Empty);
        Assert.That(await RightsAsync(), Is.EqualTo(before));
    }

    [Test]
    public async Task A_restored_dump_without_rights_serves_once_it_is_migrated()
    {
        await MigrateAsync();
        var client = await database.CreateClientAsync("billing");
        await using var restored = await Database.CreateEmptyAsync();
        await Psql.RestoreAsync(restored, await Psql.DumpAsync(database, "--no-privileges"));
        Assert.That(() => TestServer.StartAsync(restored), Throws.TypeOf<OperatorException>());

        await new Migrator(restored.Source).MigrateAsync(Schema, CancellationToken.None);
        await using var server = await TestServer.StartAsync(restored);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task Functions_and_rights_of_a_newer_database_are_left_alone()
    {
        var newer = WithFunction("newest_secret_id", "select 'newer'::text") with
        {
            Migrations =
            [
                .. Schema.Migrations,
                Next("create table token_service.newer (); grant select on token_service.newer to token_service_app"),
            ],
        };
        await MigrateAsync(newer);
        await database.ExecuteAsync("grant select on token_service.newer to token_service_app");
        var rights = await RightsAsync();

        var report = await MigrateAsync();
        Assert.That((report.Applied.Count, report.NewerSchema), Is.EqualTo((0, Count + 1)));
        Assert.That(await NewestSecretAsync(), Is.EqualTo("newer"));
        Assert.That(await RightsAsync(), Is.EqualTo(rights));
        Assert.That((await MigrateAsync(newer)).Applied, Is.Empty);
    }

    [Test]
    public async Task A_database_from_before_the_first_release_is_refused_and_not_changed()
    {
        await database.ExecuteAsync(OldVersion);
        var message =
            $"This database was made by a version before the first release: its migration 1 is 0001_schema, this build's is "
            + $"{Schema.Migrations[0].Name}. {NothingUpgrades}";

        Assert.That(() => MigrateAsync(), Throws.TypeOf<OperatorException>().With.Message.EqualTo(message));
        Assert.That(() => TestServer.StartAsync(database), Throws.TypeOf<OperatorException>().With.Message.EqualTo(message));
        var tool = await Tool.TokenServiceAsync(["migrate"], environment: [("ConnectionStrings__TokenService", database.ConnectionString)]);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((tool.ExitCode, tool.Output, tool.Error.TrimEnd()), Is.EqualTo((1, "", message)));
            Assert.That(
                await database.ReadAsync<string>(
                    """
                    select string_agg(relname, ' ' order by relname)
                    from pg_class
                    where relnamespace = 'token_service'::regnamespace
                    """),
                Is.EqualTo("migration migration_pkey"));
            Assert.That(await LocksAsync("granted"), Is.Zero);
        }
    }

    // The first migration alone is enough to recognise a database from before the squash.
    [Test]
    public async Task A_database_with_only_the_first_migration_from_before_the_first_release_is_refused()
    {
        await database.ExecuteAsync(OldVersion + "delete from token_service.migration where number > 1");
        Assert.That(() => MigrateAsync(), Throws.TypeOf<OperatorException>().With.Message.EndsWith(NothingUpgrades));
    }

    [Test, CancelAfter(30_000)]
    public async Task The_second_of_two_migrators_waits_and_applies_nothing(CancellationToken ct)
    {
        // The first migrator is held up in the middle of a migration, until the second one waits for it.
        const string Gate = "7";
        var slow = Schema with
        {
            Migrations = [.. Schema.Migrations, Next($"create table token_service.slow (); select pg_advisory_xact_lock({Gate})")],
        };
        await using var holder = await database.Source.OpenConnectionAsync(ct);
        await using var gate = new NpgsqlCommand($"select pg_advisory_lock({Gate})", holder);
        await gate.ExecuteNonQueryAsync(ct);

        Task<MigrationReport>[] migrators = [MigrateAsync(slow), MigrateAsync(slow)];
        while (await LocksAsync("not granted") < 2)
            ct.ThrowIfCancellationRequested();
        gate.CommandText = $"select pg_advisory_unlock({Gate})";
        await gate.ExecuteNonQueryAsync(ct);

        var reports = await Task.WhenAll(migrators);
        Assert.That(reports.Select(report => report.Applied.Count).Order(), Is.EqualTo([0, FileNames.Length + 1]));
    }

    [Test]
    public void The_server_does_not_start_on_an_empty_database() =>
        Assert.That(
            () => TestServer.StartAsync(database),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                $"The database has migrations up to 0, this build needs {Count}. Run: TokenService migrate"));

    [Test]
    public async Task The_server_does_not_start_before_every_migration_is_applied()
    {
        await MigrateAsync();
        await database.ExecuteAsync("delete from token_service.migration where number = @Count", new { Count });

        Assert.That(
            () => TestServer.StartAsync(database),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                $"The database has migrations up to {Count - 1}, this build needs {Count}. Run: TokenService migrate"));
    }

    [Test]
    public async Task The_server_does_not_start_when_its_user_may_not_use_the_schema()
    {
        await MigrateAsync();
        await database.ExecuteAsync("revoke usage on schema token_service from token_service_app");

        Assert.That(
            () => TestServer.StartAsync(database),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                "The database user may not use the schema token_service. Run: TokenService migrate, then make the user a member of "
                + "the role token_service_app."));
    }

    [Test]
    public async Task The_server_starts_on_the_schema_of_a_newer_build()
    {
        await MigrateAsync(Schema with { Migrations = [.. Schema.Migrations, Next("create table token_service.newer ()")] });
        var client = await database.CreateClientAsync("billing");

        await using var server = await TestServer.StartAsync(database);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    private static Migration Next(string sql) => new(Count + 1, "9999_next", sql);

    // The schema of this build, with another body for one SQL function in the file "secrets".
    private static DatabaseSchema WithFunction(string name, string body) => Schema with
    {
        Functions =
        [
            .. Schema.Functions.Select(file => file.Name != "secrets" ? file : file with
            {
                Sql = Regex.Replace(
                    file.Sql, $@"(create or replace function token_service\.{name}\([^$]*\$\$).*?(\$\$;)", $"$1 {body} $2",
                    RegexOptions.Singleline),
            }),
        ],
    };

    private Task<MigrationReport> MigrateAsync() => MigrateAsync(Schema);

    private Task<MigrationReport> MigrateAsync(DatabaseSchema schema) =>
        new Migrator(database.Source).MigrateAsync(schema, CancellationToken.None);

    private Task<string?> NewestSecretAsync() => database.ReadAsync<string>("select token_service.newest_secret_id('nobody')");

    // The rights of every role on every object, and whether a function runs with the rights of its owner.
    private Task<string?> RightsAsync() => database.ReadAsync<string>(
        """
        select string_agg(format('%s %s', name, rights), e'\n' order by name)
        from (
            select nspname as name, nspacl::text as rights from pg_namespace where nspname = 'token_service'
            union all
            select relname, (select string_agg(acl::text, ' ' order by acl::text) from unnest(relacl) acl)
            from pg_class where relnamespace = 'token_service'::regnamespace
            union all
            select attrelid::regclass::text || '.' || attname,
                   (select string_agg(acl::text, ' ' order by acl::text) from unnest(attacl) acl)
            from pg_attribute
            where attacl is not null
              and attrelid in (select oid from pg_class where relnamespace = 'token_service'::regnamespace)
            union all
            select proname, format('%s %s', prosecdef, (select string_agg(acl::text, ' ' order by acl::text) from unnest(proacl) acl))
            from pg_proc where pronamespace = 'token_service'::regnamespace
        ) every_right
        """);

    private Task<string?> AppliedAsync() =>
        database.ReadAsync<string>("select string_agg(name, ' ' order by number) from token_service.migration");

    private Task<bool> ExistsAsync(string table) =>
        database.ReadAsync<bool>("select to_regclass(@table) is not null", new { table });

    private async Task<long> LocksAsync(string condition)
    {
        await using var command = observer.CreateCommand(
            $"""
            select count(*) from pg_locks
            where locktype = 'advisory'
              and database = (select oid from pg_database where datname = current_database())
              and {condition}
            """);
        return (long)(await command.ExecuteScalarAsync())!;
    }

    [GeneratedRegex(@"^create or replace function token_service\.(\w+)\(", RegexOptions.Multiline)]
    private static partial Regex Definition();
}
