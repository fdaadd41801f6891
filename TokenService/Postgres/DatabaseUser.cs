using Npgsql;

namespace TokenService.Postgres;

/// <summary>The database user that this server connects as.</summary>
internal static partial class DatabaseUser
{
    // True for the schema's owner, members of the owner, superusers and admins.
    private const string MayAdminister = """
        select pg_has_role(current_user, nspowner, 'usage') or pg_has_role(current_user, 'token_service_admin', 'usage')
        from pg_namespace
        where nspname = 'token_service'
        """;

    /// <summary>
    /// Warns when the user has rights that the server does not need: to create clients, to change the audit log.
    /// </summary>
    public static async Task WarnOfRightsAsync(NpgsqlDataSource postgres, ILoggerFactory loggers, CancellationToken ct)
    {
        await using var command = postgres.CreateCommand(MayAdminister);
        if (await command.ExecuteScalarAsync(ct) is true)
            Log.MayAdminister(loggers.CreateLogger(typeof(DatabaseUser)));
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "The database user may administer TokenService or owns its schema, so an attacker who takes over the server "
            + "could create clients. Requests are answered. Connect as a user that is a member of token_service_app only")]
        public static partial void MayAdminister(ILogger logger);
    }
}
