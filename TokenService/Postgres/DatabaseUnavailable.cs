using Npgsql;

namespace TokenService.Postgres;

/// <summary>
/// Tells an unavailable database, which the server expects, from a refused statement, which is a bug.
/// </summary>
internal static class DatabaseUnavailable
{
    // PostgreSQL's error classes that are not the statement's fault: 08 connection, 28 login, 3D unknown database, 40
    // rollback after a conflict, 53 resources, 55 object not in the required state, 57 operator intervention, 58
    // operating system.
    private static readonly string[] Classes = ["08", "28", "3D", "40", "53", "55", "57", "58"];

    public static bool IsTheCauseOf(Exception exception) => exception switch
    {
        // After a failover, this connection still leads to the former primary.
        PostgresException { SqlState: PostgresErrorCodes.ReadOnlySqlTransaction } => true,
        PostgresException refused => Classes.Contains(refused.SqlState[..2]),
        NpgsqlException or TimeoutException => true,
        _ => false,
    };
}
