using Npgsql;

namespace TokenService.Postgres;

/// <summary>Tells a database that is unavailable, which is foreseen, from one that refused a statement, which is a bug.</summary>
internal static class DatabaseUnavailable
{
    // PostgreSQL's classes of error that do not blame the statement: connection, login, no such database, resources, a conflict
    // that passes, not in a state for it, an operator stopping it, the system below it.
    private static readonly string[] Classes = ["08", "28", "3D", "40", "53", "55", "57", "58"];

    public static bool IsTheCauseOf(Exception exception) => exception switch
    {
        // The server was the primary until a moment ago.
        PostgresException { SqlState: PostgresErrorCodes.ReadOnlySqlTransaction } => true,
        PostgresException refused => Classes.Contains(refused.SqlState[..2]),
        NpgsqlException or TimeoutException => true,
        _ => false,
    };
}
