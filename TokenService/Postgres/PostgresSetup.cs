using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Configuration;

namespace TokenService.Postgres;

/// <summary>The database: how to reach it, what its schema is, and whether it is there. Knows no table but its own.</summary>
internal static class PostgresSetup
{
    // A token request that has to wait longer than this for the database is better refused than kept.
    private const int TimeoutSeconds = 5;

    public static IServiceCollection AddPostgres(this IServiceCollection services)
    {
        services.AddSettings<PostgresOptions>((options, configuration) =>
            options.ConnectionString = configuration.GetConnectionString(PostgresOptions.ConnectionName) ?? "");
        services.AddSingleton(provider =>
            Connect(provider.GetRequiredService<IOptions<PostgresOptions>>().Value, provider.GetRequiredService<ILoggerFactory>()));
        services.AddSingleton<Migrator>();
        services.AddSingleton<ChangeNotifications>();
        services.AddHostedService(provider => provider.GetRequiredService<ChangeNotifications>());
        services.AddHealthChecks().AddCheck<PostgresHealth>("postgres");
        return services;
    }

    private static NpgsqlDataSource Connect(PostgresOptions options, ILoggerFactory loggers)
    {
        // What the operator's string says of these wins over our defaults.
        var connectionString = new NpgsqlConnectionStringBuilder
        {
            ApplicationName = "TokenService",
            Timeout = TimeoutSeconds,
            CommandTimeout = TimeoutSeconds,
        };
        // Of a cluster that fails over, the server that takes writes.
        if (options.ConnectionString.Contains(',', StringComparison.Ordinal))
            connectionString.TargetSessionAttributes = "primary";
        foreach (var (key, value) in new NpgsqlConnectionStringBuilder(options.ConnectionString))
            connectionString[key] = value;

        return new NpgsqlDataSourceBuilder(connectionString.ConnectionString).UseLoggerFactory(loggers).Build();
    }
}
