using System.Data;
using Dapper;
using Npgsql;
using TokenService.Configuration;

namespace TokenService.Postgres;

/// <summary>The changes that a migrator made.</summary>
/// <param name="Applied">The migrations that were missing and the functions files that changed, by name.</param>
/// <param name="NewerSchema">
/// The number of the database's last migration, when this build does not know it: functions and rights were then left
/// alone. Otherwise null.
/// </param>
internal sealed record MigrationReport(IReadOnlyList<string> Applied, int? NewerSchema);

/// <summary>
/// Brings the schema to what this build knows, forward only: the missing migrations, each recorded with its checksum,
/// and all functions files, in one transaction. A lock keeps other migrators out.
/// </summary>
internal sealed class Migrator(NpgsqlDataSource postgres)
{
    // 0 means no command time-out: another migrator may hold the lock for a long time, and a migration may take long.
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

        create table if not exists token_service.functions_file (
            name       text        not null,
            checksum   text        not null,
            applied_at timestamptz not null default now(),

            constraint functions_file_pkey primary key (name)
        );

        comment on schema token_service is
            'TokenService, an OAuth 2.0 authorization server. Roles: token_service_admin, token_service_app.';
        comment on table token_service.migration is 'The migrations this database has seen.';
        comment on column token_service.migration.number is 'The number in the file''s name.';
        comment on column token_service.migration.name is 'The file''s name without its ending.';
        comment on column token_service.migration.checksum is 'SHA-256 of the file, in hexadecimal.';
        comment on column token_service.migration.applied_at is 'When it was applied.';
        comment on table token_service.functions_file is 'The files in migrations/functions/ as this database was given them.';
        comment on column token_service.functions_file.name is 'The file''s name without its ending.';
        comment on column token_service.functions_file.checksum is 'SHA-256 of the file, in hexadecimal.';
        comment on column token_service.functions_file.applied_at is 'When its present content was applied first.';
        """;

    private const string Applied = """
        select number as "Number", name as "Name", checksum as "Checksum"
        from token_service.migration
        order by number
        """;

    private const string Record = """
        insert into token_service.migration (number, name, checksum)
        values (@Number, @Name, @Checksum)
        """;

    // Writes no row when the file is already recorded with this checksum.
    private const string RecordFunctions = """
        insert into token_service.functions_file as f (name, checksum)
        values (@Name, @Checksum)
        on conflict (name) do update
            set checksum = excluded.checksum,
                applied_at = excluded.applied_at
            where f.checksum <> excluded.checksum
        """;

    // An arbitrary number, the same in every build: every migrator of an empty database locks it.
    private const string LockDatabase = "select pg_advisory_xact_lock(x'746F6B656E5F7376'::bigint)"; // "token_sv"

    private const string LockTable = "lock table token_service.migration in share update exclusive mode";

    private const string Exists = "select to_regclass('token_service.migration') is not null";

    /// <summary>
    /// Applies the missing migrations, then every functions file, changed or not. A database that was restored without
    /// its rights, or in which a right was revoked, has its rights again.
    /// </summary>
    /// <exception cref="OperatorException">
    /// The database was made by a version before the first release, or the file of an applied migration has changed.
    /// </exception>
    public async Task<MigrationReport> MigrateAsync(DatabaseSchema schema, CancellationToken ct)
    {
        // One transaction: nobody meets new tables with old functions, or a function without its rights, and a file that
        // fails leaves the database as it was.
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await LockAsync(connection, ct);
        var applied = await AppliedAsync(connection, ct);
        RefuseOtherLineage(schema, applied);
        var missing = Missing(schema, applied);

        // An older build would replace newer functions, which the newer tables need, by its own.
        var latest = Latest(applied);
        if (latest > schema.Migrations.Count)
            return new MigrationReport([], NewerSchema: latest);
        var report = new MigrationReport(await ApplyAsync(connection, schema, missing, ct), NewerSchema: null);
        await transaction.CommitAsync(ct);
        return report;
    }

    /// <summary>
    /// Refuses a schema that is older than this build. Accepts a newer schema, because every migration keeps the
    /// schema usable for the previous build.
    /// </summary>
    /// <exception cref="OperatorException">
    /// The schema lacks migrations, was made before the first release, or may not be used by this database user.
    /// </exception>
    public async Task CheckAsync(CancellationToken ct)
    {
        var schema = DatabaseSchema.OfThisBuild;
        var applied = await AppliedAsync(ct);
        RefuseOtherLineage(schema, applied);
        var latest = Latest(applied);
        if (latest < schema.Migrations.Count)
        {
            throw new OperatorException(
                $"The database has migrations up to {latest}, this build needs {schema.Migrations.Count}. Run: TokenService migrate");
        }
    }

    // Keeps other migrators out until the end of the transaction. Any user of the database can take an advisory lock, so
    // it is used only before there is a table to lock.
    private static async Task LockAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        if (!await ExistsAsync(connection, ct))
            await connection.RunAsync(LockDatabase, ct, Patient);
        // Another migrator may have made the table meanwhile.
        if (await ExistsAsync(connection, ct))
            await connection.RunAsync(LockTable, ct, Patient);
    }

    private static async Task<List<string>> ApplyAsync(
        NpgsqlConnection connection, DatabaseSchema schema, List<Migration> missing, CancellationToken ct)
    {
        List<string> changed = [];
        await connection.RunAsync(Prepare, ct);
        await ApplyFunctionsAsync(schema.Functions.Where(file => file.ComesBeforeTables));
        foreach (var migration in missing)
        {
            await connection.RunAsync(migration.Sql, ct, Patient);
            await connection.ExecuteAsync(
                Record, new { migration.Number, migration.Name, migration.Checksum, ct }, commandTimeout: connection.CommandTimeout);
        }

        await ApplyFunctionsAsync(schema.Functions.Where(file => !file.ComesBeforeTables));
        return [.. missing.Select(migration => migration.Name), .. changed];

        async Task ApplyFunctionsAsync(IEnumerable<FunctionsFile> files)
        {
            foreach (var file in files)
            {
                await connection.RunAsync(file.Sql, ct, Patient);
                var written = await connection.ExecuteAsync(
                    RecordFunctions, new { file.Name, file.Checksum, ct }, commandTimeout: connection.CommandTimeout);
                if (written > 0)
                    changed.Add($"functions/{file.Name}");
            }
        }
    }

    private async Task<List<AppliedMigration>> AppliedAsync(CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        try
        {
            return await AppliedAsync(connection, ct);
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InsufficientPrivilege)
        {
            throw new OperatorException(
                "The database user may not use the schema token_service. Run: TokenService migrate, then make the user a member of "
                + "the role token_service_app.", e);
        }
    }

    private static async Task<List<AppliedMigration>> AppliedAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        if (!await ExistsAsync(connection, ct))
            return [];
        await using var command = new NpgsqlCommand(Applied, connection);
        await using var found = await command.ExecuteReaderAsync(ct);
        return await found.ReadRowsAsync(found.GetRowParser<AppliedMigration>(), ct);
    }

    private static async Task<bool> ExistsAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(Exists, connection);
        return await command.ExecuteScalarAsync(ct) is true;
    }

    private static int Latest(List<AppliedMigration> applied) => applied.Count == 0 ? 0 : applied[^1].Number;

    // An applied migration never changes its name, so another name means a database from before the first release.
    private static void RefuseOtherLineage(DatabaseSchema schema, List<AppliedMigration> applied)
    {
        foreach (var (recorded, known) in applied.Zip(schema.Migrations))
        {
            if (recorded.Name != known.Name)
            {
                throw new OperatorException(
                    $"This database was made by a version before the first release: its migration {recorded.Number} is "
                    + $"{recorded.Name}, this build's is {known.Name}. The schema was squashed into fewer migrations then, "
                    + "and no upgrade exists. Make a new database, run TokenService migrate on it, and create the clients again.");
            }
        }
    }

    private static List<Migration> Missing(DatabaseSchema schema, List<AppliedMigration> applied)
    {
        var checksums = applied.ToDictionary(a => a.Number, a => a.Checksum);
        foreach (var migration in schema.Migrations)
        {
            if (checksums.TryGetValue(migration.Number, out var checksum) && checksum != migration.Checksum)
            {
                throw new OperatorException(
                    $"Migration {migration.Name} is not the one this database was given: its checksum then was {checksum}, now it is "
                    + $"{migration.Checksum}. Restore the file, and put the change into a new migration.");
            }
        }

        return [.. schema.Migrations.Where(migration => !checksums.ContainsKey(migration.Number))];
    }

    internal sealed record AppliedMigration(int Number, string Name, string Checksum);
}
