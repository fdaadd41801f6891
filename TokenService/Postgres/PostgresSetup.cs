using Dapper;
using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Configuration;

// Every call of Dapper is replaced at build time by code that needs no reflection. Such a call takes its CancellationToken
// as a member of its parameters, if there are others. Its commandTimeout is always given: without one, it would wait
// forever and not as long as the connection says.
[module: DapperAot]

namespace TokenService.Postgres;

/// <summary>
/// The database: connections, schema migrations, notifications of changes, and health. This room knows no table except
/// the migrator's own.
/// </summary>
internal static class PostgresSetup
{
    // A token request that waits longer than this for the database is refused.
    private const int TimeoutSeconds = 5;

    public static IServiceCollection AddPostgres(this IServiceCollection services)
    {
        services.AddSettings<PostgresOptions>((options, configuration) =>
            options.ConnectionString = configuration.GetConnectionString(PostgresOptions.ConnectionName) ?? "");
        services.AddSingleton(provider => Connect(
            provider.GetRequiredService<IOptions<PostgresOptions>>().Value, provider.GetRequiredService<ILoggerFactory>()));
        services.AddSingleton<Migrator>();
        services.AddSingleton<ChangeNotifications>();
        services.AddHostedService(provider => provider.GetRequiredService<ChangeNotifications>());
        services.AddHealthChecks().AddCheck<PostgresHealth>("postgres");
        return services;
    }

    private static NpgsqlDataSource Connect(PostgresOptions options, ILoggerFactory loggers)
    {
        // These are defaults; the operator's connection string overrides them below.
        var connectionString = new NpgsqlConnectionStringBuilder
        {
            ApplicationName = "TokenService",
            Timeout = TimeoutSeconds,
            CommandTimeout = TimeoutSeconds,
        };
        // With several hosts, Npgsql then connects to the one that accepts writes, also after a failover.
        if (options.ConnectionString.Contains(',', StringComparison.Ordinal))
            connectionString.TargetSessionAttributes = "primary";
        foreach (var (key, value) in new NpgsqlConnectionStringBuilder(options.ConnectionString))
            connectionString[key] = value;

        return new NpgsqlDataSourceBuilder(connectionString.ConnectionString).UseLoggerFactory(loggers).Build();
    }
}
