using Npgsql;

namespace TokenService.Postgres;

/// <summary>Who we are to the database.</summary>
internal static partial class DatabaseUser
{
    // Members of the owner, and superusers.
    private const string OwnsSchema = """
        select pg_has_role(current_user, nspowner, 'usage')
        from pg_namespace
        where nspname = 'token_service'
        """;

    /// <summary>Warns an operator whose server could do more than it needs: make clients, rewrite the audit log.</summary>
    public static async Task WarnOfRightsAsync(NpgsqlDataSource postgres, ILoggerFactory loggers, CancellationToken ct)
    {
        await using var command = postgres.CreateCommand(OwnsSchema);
        if (await command.ExecuteScalarAsync(ct) is true)
            Log.OwnsSchema(loggers.CreateLogger(typeof(DatabaseUser)));
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "The database user owns the schema, and so can do anything to it. Serve as one who is only a member of token_service_app")]
        public static partial void OwnsSchema(ILogger logger);
    }
}
