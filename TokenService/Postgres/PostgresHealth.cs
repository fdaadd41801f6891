using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;

namespace TokenService.Postgres;

/// <summary>Healthy while the database answers. The caller limits the time.</summary>
internal sealed class PostgresHealth(NpgsqlDataSource postgres) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken)
    {
        await using var command = postgres.CreateCommand("select 1");
        await command.ExecuteScalarAsync(cancellationToken);
        return HealthCheckResult.Healthy();
    }
}
