using Npgsql;

namespace TokenService.Postgres;

/// <summary>Who we are to the database.</summary>
internal static partial class DatabaseUser
{
    // The owner, its members and superusers, and admins.
    private const string MayAdminister = """
        select pg_has_role(current_user, nspowner, 'usage') or pg_has_role(current_user, 'token_service_admin', 'usage')
        from pg_namespace
        where nspname = 'token_service'
        """;

    /// <summary>Warns an operator whose server could do more than it needs: make clients, rewrite the audit log.</summary>
    public static async Task WarnOfRightsAsync(NpgsqlDataSource postgres, ILoggerFactory loggers, CancellationToken ct)
    {
        await using var command = postgres.CreateCommand(MayAdminister);
        if (await command.ExecuteScalarAsync(ct) is true)
            Log.MayAdminister(loggers.CreateLogger(typeof(DatabaseUser)));
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "The database user may administer, or owns the schema. Serve as one who is only a member of token_service_app")]
        public static partial void MayAdminister(ILogger logger);
    }
}
