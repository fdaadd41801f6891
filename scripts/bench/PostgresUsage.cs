using System.Globalization;
using Npgsql;

namespace TokenService.Bench;

/// <summary>The resources that PostgreSQL has used so far.</summary>
/// <param name="ProcessorTime">Of each of its processes.</param>
/// <param name="WalBytes">The length of its log, from the beginning.</param>
internal sealed record PostgresUsed(IReadOnlyDictionary<int, TimeSpan> ProcessorTime, long WalBytes)
{
    /// <summary>The processor time since then. A process that has ended meanwhile counts as nothing.</summary>
    public TimeSpan ProcessorTimeSince(PostgresUsed before) => ProcessorTime
        .Select(process => process.Value - before.ProcessorTime.GetValueOrDefault(process.Key))
        .Aggregate(TimeSpan.Zero, (sum, time) => sum + time);
}

/// <summary>Reads what PostgreSQL uses, all its processes together.</summary>
internal sealed class PostgresUsage
{
    private const string WrittenLog = """
        select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
        """;

    private readonly NpgsqlDataSource database;
    private readonly int postmaster;

    private PostgresUsage(NpgsqlDataSource database, int postmaster) => (this.database, this.postmaster) = (database, postmaster);

    public static async Task<PostgresUsage> FindAsync(NpgsqlDataSource database, CancellationToken ct)
    {
        await using var command = database.CreateCommand("select pg_backend_pid()");
        var backend = (int)(await command.ExecuteScalarAsync(ct))!;
        return new PostgresUsage(
            database, ParentOf(backend) ?? throw new InvalidOperationException("PostgreSQL's processes are not in /proc."));
    }

    public async Task<PostgresUsed> ReadAsync(CancellationToken ct)
    {
        await using var command = database.CreateCommand(WrittenLog);
        var bytes = (long)(await command.ExecuteScalarAsync(ct))!;
        var times = new Dictionary<int, TimeSpan>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var id)
                && (id == postmaster || ParentOf(id) == postmaster)
                && TimeOf(id) is { } time)
                times[id] = time;
        }

        return new PostgresUsed(times, bytes);
    }

    // Null: the process has ended.
    private static int? ParentOf(int id)
    {
        // The name before the last bracket may contain anything.
        var text = Read($"/proc/{id}/stat");
        return text is null ? null : int.Parse(text[(text.LastIndexOf(')') + 1)..].Split(' ')[2], CultureInfo.InvariantCulture);
    }

    // In nanoseconds, while the ticks of stat are of 10 ms. A process of PostgreSQL has one thread.
    private static TimeSpan? TimeOf(int id)
    {
        var text = Read($"/proc/{id}/schedstat");
        return text is null ? null : TimeSpan.FromMicroseconds(double.Parse(text.Split(' ')[0], CultureInfo.InvariantCulture) / 1000);
    }

    private static string? Read(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (IOException)
        {
            return null;
        }
    }
}
