using Npgsql;
using TokenService.Configuration;
using TokenService.Postgres;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Schema;

/// <summary>How the schema comes to be what this build needs.</summary>
[TestFixture]
public sealed class Migrations
{
    private static readonly int Count = Migration.All.Count;

    private Database database = null!;

    // Apart from those of the migrators: a pool clears a connection of its locks only when it is used again.
    private NpgsqlDataSource observer = null!;

    private Migrator Migrator => new(database.Source);

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
    public async Task An_empty_database_is_given_all_of_them_once()
    {
        var first = await Migrator.MigrateAsync(Migration.All, CancellationToken.None);
        var second = await Migrator.MigrateAsync(Migration.All, CancellationToken.None);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(first, Is.EqualTo(Migration.All));
            Assert.That(second, Is.Empty);
            Assert.That(await AppliedAsync(), Is.EqualTo(string.Join(' ', Migration.All.Select(migration => migration.Name))));
        }
    }

    [Test]
    public void They_are_the_files_of_the_folder() =>
        Assert.That(
            Migration.All.Select(migration => (migration.Name + ".sql", migration.Sql)),
            Is.EqualTo(Directory.GetFiles(Repository.PathTo("migrations"), "*.sql").Order(StringComparer.Ordinal)
                .Select(file => (Path.GetFileName(file), File.ReadAllText(file)))));

    [Test]
    public async Task A_file_that_changed_after_it_was_applied_is_refused()
    {
        await Migrator.MigrateAsync(Migration.All, CancellationToken.None);
        var original = Migration.All[0];
        var changed = new Migration(original.Number, original.Name, original.Sql + "-- a comment");
        var next = new Migration(Count + 1, "9999_next", "create table token_service.next ()");

        Assert.That(
            () => Migrator.MigrateAsync([changed, .. Migration.All.Skip(1), next], CancellationToken.None),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                $"Migration {original.Name} is not the one this database was given: its checksum then was {original.Checksum}, now it is "
                + $"{changed.Checksum}. Restore the file, and put the change into a new migration."));
        Assert.That(await ExistsAsync("token_service.next"), Is.False);
    }

    [Test]
    public async Task A_migration_that_fails_leaves_nothing_of_itself()
    {
        var before = new Migration(Count + 1, "9998_before", "create table token_service.before ()");
        var failing = new Migration(Count + 2, "9999_failing", "create table token_service.failing (); select 1 / 0");

        Assert.That(
            () => Migrator.MigrateAsync([.. Migration.All, before, failing], CancellationToken.None),
            Throws.TypeOf<PostgresException>()
                .With.Property(nameof(PostgresException.SqlState)).EqualTo(PostgresErrorCodes.DivisionByZero));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(await ExistsAsync("token_service.before"), Is.True);
            Assert.That(await ExistsAsync("token_service.failing"), Is.False);
            Assert.That(await AppliedAsync(), Does.EndWith(" 9998_before"));
            Assert.That(await LocksAsync("granted"), Is.Zero);
        }
    }

    [Test, CancelAfter(30_000)]
    public async Task Of_two_migrators_one_waits_and_finds_the_work_done(CancellationToken ct)
    {
        // The first is held up in the middle of a migration, until the second is seen to wait for it.
        const string Gate = "7";
        var slow = new Migration(Count + 1, "9999_slow", $"create table token_service.slow (); select pg_advisory_xact_lock({Gate})");
        await using var holder = await database.Source.OpenConnectionAsync(ct);
        await using var gate = new NpgsqlCommand($"select pg_advisory_lock({Gate})", holder);
        await gate.ExecuteNonQueryAsync(ct);

        Task<IReadOnlyList<Migration>>[] migrators =
        [
            Migrator.MigrateAsync([.. Migration.All, slow], ct), Migrator.MigrateAsync([.. Migration.All, slow], ct),
        ];
        while (await LocksAsync("not granted") < 2)
            ct.ThrowIfCancellationRequested();
        gate.CommandText = $"select pg_advisory_unlock({Gate})";
        await gate.ExecuteNonQueryAsync(ct);

        var applied = await Task.WhenAll(migrators);
        Assert.That(applied.Select(list => list.Count).Order(), Is.EqualTo([0, Count + 1]));
    }

    [Test]
    public void The_server_does_not_start_on_an_empty_database() =>
        Assert.That(
            () => TestServer.StartAsync(database),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                $"The database has migrations up to 0, this build needs {Count}. Run: TokenService migrate"));

    [Test]
    public async Task The_server_does_not_start_before_all_are_applied()
    {
        await Migrator.MigrateAsync(Migration.All, CancellationToken.None);
        await database.ExecuteAsync("delete from token_service.migration where number = @Count", new { Count });

        Assert.That(
            () => TestServer.StartAsync(database),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                $"The database has migrations up to {Count - 1}, this build needs {Count}. Run: TokenService migrate"));
    }

    [Test]
    public async Task The_server_does_not_start_where_its_user_may_not_read_the_schema()
    {
        await Migrator.MigrateAsync([.. Migration.All.Take(1)], CancellationToken.None);

        Assert.That(
            () => TestServer.StartAsync(database),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                "The database user may not use the schema token_service. Run: TokenService migrate, then make the user a member of "
                + "the role token_service_app."));
    }

    [Test]
    public async Task The_server_starts_on_the_schema_of_a_newer_build()
    {
        var newer = new Migration(Count + 1, "9999_newer", "create table token_service.newer ()");
        await Migrator.MigrateAsync([.. Migration.All, newer], CancellationToken.None);
        var client = await database.CreateClientAsync("billing");

        await using var server = await TestServer.StartAsync(database);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

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
}
