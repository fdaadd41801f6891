using Npgsql;

namespace TokenService.Postgres;

/// <summary>Tells a database that is away, which is foreseen, from a statement it refused, which is a bug.</summary>
internal static class DatabaseUnavailable
{
    // PostgreSQL's classes of error in which not the statement is the trouble: connection, login, no such database, resources,
    // a conflict that passes, not in a state for it, an operator stopping it, the system below it.
    private static readonly string[] Classes = ["08", "28", "3D", "40", "53", "55", "57", "58"];

    public static bool IsTheCauseOf(Exception exception) => exception switch
    {
        // As on a server that was the primary until just now.
        PostgresException { SqlState: PostgresErrorCodes.ReadOnlySqlTransaction } => true,
        PostgresException refused => Classes.Contains(refused.SqlState[..2]),
        NpgsqlException or TimeoutException => true,
        _ => false,
    };

    /// <summary>Asks for what must not take long: a database that takes longer is as good as away.</summary>
    /// <exception cref="TimeoutException">It took longer.</exception>
    public static async Task<T> AskAsync<T>(TimeSpan limit, TimeProvider clock, Func<CancellationToken, Task<T>> ask)
    {
        using var timeout = new QuietCancellation(limit, clock);
        try
        {
            // A connection that is dead may not even notice that it is given up.
            return await ask(timeout.Token).WaitAsync(timeout.Token);
        }
        catch (OperationCanceledException e)
        {
            throw new TimeoutException("The database did not answer in time.", e);
        }
    }
}
