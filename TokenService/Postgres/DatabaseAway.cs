using Npgsql;

namespace TokenService.Postgres;

/// <summary>Tells a database that is away, which is foreseen, from a statement it refused, which is a bug.</summary>
internal static class DatabaseAway
{
    // PostgreSQL's classes of error in which the server itself is the trouble: connection, resources, an operator stopping it.
    private static readonly string[] Classes = ["08", "53", "57", "58"];

    public static bool IsTheCauseOf(Exception exception) => exception switch
    {
        PostgresException refused => Classes.Contains(refused.SqlState[..2]),
        NpgsqlException or TimeoutException => true,
        _ => false,
    };
}
