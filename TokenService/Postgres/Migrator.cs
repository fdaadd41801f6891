using System.Data;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Npgsql;
using TokenService.Configuration;

namespace TokenService.Postgres;

/// <summary>A numbered change of the schema, as it was built into this assembly from <c>migrations/</c>.</summary>
/// <param name="Number">1, 2, 3 and on, without gaps.</param>
/// <param name="Name">The file's name without its ending.</param>
/// <param name="Sql">The file.</param>
internal sealed record Migration(int Number, string Name, string Sql)
{
    /// <summary>SHA-256 of the file, in hexadecimal.</summary>
    public string Checksum { get; } = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Sql)));

    /// <summary>All there are, in order.</summary>
    public static IReadOnlyList<Migration> All { get; } = Load(typeof(Migration).Assembly);

    private static Migration[] Load(Assembly assembly) =>
        [.. assembly.GetManifestResourceNames()
            .Where(name => name.StartsWith("migrations/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select((resource, index) => Load(assembly, resource, index + 1))];

    private static Migration Load(Assembly assembly, string resource, int number)
    {
        using var reader = new StreamReader(assembly.GetManifestResourceStream(resource)!);
        var name = Path.GetFileNameWithoutExtension(resource);
        return name.StartsWith($"{number:0000}_", StringComparison.Ordinal)
            ? new Migration(number, name, reader.ReadToEnd())
            : throw new InvalidOperationException($"{resource} should begin with {number:0000}_: migrations are numbered without gaps.");
    }
}

/// <summary>
/// Brings the schema to what this build knows. Forward only; each migration in a transaction of its own, recorded with its
/// checksum; one migrator at a time, by advisory lock.
/// </summary>
internal sealed class Migrator(NpgsqlDataSource postgres)
{
    // An arbitrary number, the same in every build: whoever migrates this database locks it.
    private const long LockId = 0x746F6B656E5F7376; // "token_sv"

    // A command time-out of 0 is none: another migrator may hold the lock for long, a migration may take long.
    private const int Patient = 0;

    private const string Prepare = """
        create schema if not exists token_service;

        create table if not exists token_service.migration (
            number     integer     not null,
            name       text        not null,
            checksum   text        not null,
            applied_at timestamptz not null default now(),

            constraint migration_pkey primary key (number)
        );

        comment on schema token_service is 'TokenService, an OAuth 2.0 authorization server.';
        comment on table token_service.migration is 'The migrations this database has seen.';
        comment on column token_service.migration.number is 'The number in the file''s name.';
        comment on column token_service.migration.name is 'The file''s name without its ending.';
        comment on column token_service.migration.checksum is 'SHA-256 of the file, in hexadecimal.';
        comment on column token_service.migration.applied_at is 'When it was applied.';
        """;

    private const string Applied = """
        select number as "Number", checksum as "Checksum"
        from token_service.migration
        order by number
        """;

    private const string Record = """
        insert into token_service.migration (number, name, checksum)
        values (@Number, @Name, @Checksum)
        """;

    private const string Exists = "select to_regclass('token_service.migration') is not null";

    private const string Latest = "select coalesce(max(number), 0) from token_service.migration";

    /// <summary>Applies what is missing and returns it.</summary>
    /// <exception cref="OperatorException">An applied migration's file has changed since.</exception>
    public async Task<IReadOnlyList<Migration>> MigrateAsync(IReadOnlyList<Migration> migrations, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        // Held by the session, so that it spans the transactions below and a death releases it.
        await connection.ExecuteAsync(Command("select pg_advisory_lock(@LockId)", new { LockId }, Patient, ct));
        try
        {
            await connection.ExecuteAsync(Command(Prepare, ct: ct));
            var missing = Missing(migrations, await connection.QueryAsync<AppliedMigration>(Command(Applied, ct: ct)));
            foreach (var migration in missing)
            {
                await using var transaction = await connection.BeginTransactionAsync(ct);
                await connection.ExecuteAsync(Command(migration.Sql, null, Patient, ct));
                await connection.ExecuteAsync(Command(Record, migration, ct: ct));
                await transaction.CommitAsync(ct);
            }

            return missing;
        }
        finally
        {
            if (connection.State == ConnectionState.Open)
                await connection.ExecuteAsync(Command("select pg_advisory_unlock(@LockId)", new { LockId }, ct: CancellationToken.None));
        }
    }

    /// <summary>Refuses a schema older than this build. A newer one is fine: migrations are safe while the version before runs.</summary>
    /// <exception cref="OperatorException">The schema lacks migrations, or is closed to us.</exception>
    public async Task CheckAsync(CancellationToken ct)
    {
        var latest = await LatestAsync(ct);
        if (latest < Migration.All.Count)
        {
            throw new OperatorException(
                $"The database has migrations up to {latest}, this build needs {Migration.All.Count}. Run: TokenService migrate");
        }
    }

    private async Task<int> LatestAsync(CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        try
        {
            return await connection.ExecuteScalarAsync<bool>(Command(Exists, ct: ct))
                ? await connection.ExecuteScalarAsync<int>(Command(Latest, ct: ct))
                : 0;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InsufficientPrivilege)
        {
            throw new OperatorException(
                "The database user may not use the schema token_service. Run: TokenService migrate, then make the user a member of "
                + "the role token_service_app.", e);
        }
    }

    private static List<Migration> Missing(IReadOnlyList<Migration> migrations, IEnumerable<AppliedMigration> applied)
    {
        var checksums = applied.ToDictionary(a => a.Number, a => a.Checksum);
        foreach (var migration in migrations)
        {
            if (checksums.TryGetValue(migration.Number, out var checksum) && checksum != migration.Checksum)
            {
                throw new OperatorException(
                    $"Migration {migration.Name} is not the one this database was given: its checksum then was {checksum}, now it is "
                    + $"{migration.Checksum}. Restore the file, and put the change into a new migration.");
            }
        }

        return [.. migrations.Where(migration => !checksums.ContainsKey(migration.Number))];
    }

    private static CommandDefinition Command(
        string sql, object? parameters = null, int? timeout = null, CancellationToken ct = default) =>
        new(sql, parameters, commandTimeout: timeout, cancellationToken: ct);

    private sealed record AppliedMigration(int Number, string Checksum);
}
