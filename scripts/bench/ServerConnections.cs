using Npgsql;

namespace TokenService.Bench;

/// <summary>Watches how many connections to PostgreSQL the server has open.</summary>
internal static class ServerConnections
{
    private const string Count = """
        select count(*)
        from pg_stat_activity
        where datname = current_database()
          and application_name = 'TokenService'
        """;

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    /// <returns>The most that were open at once, until <paramref name="over"/>.</returns>
    public static async Task<long> MaxAsync(NpgsqlDataSource database, CancellationToken over)
    {
        var max = 0L;
        while (!over.IsCancellationRequested)
        {
            await using var command = database.CreateCommand(Count);
            max = Math.Max(max, (long)(await command.ExecuteScalarAsync(CancellationToken.None))!);
            await Task.Delay(Interval, over).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        return max;
    }
}
