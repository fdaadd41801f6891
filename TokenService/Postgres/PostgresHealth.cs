using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;

namespace TokenService.Postgres;

/// <summary>Healthy while the database answers within two seconds.</summary>
internal sealed class PostgresHealth(NpgsqlDataSource postgres, TimeProvider clock) : IHealthCheck
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(2);

    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken)
    {
        try
        {
            await AskAsync(cancellationToken).WaitAsync(Timeout, clock, cancellationToken);
            return HealthCheckResult.Healthy();
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            return HealthCheckResult.Unhealthy("The database does not answer.", e);
        }
    }

    private async Task AskAsync(CancellationToken ct)
    {
        await using var command = postgres.CreateCommand("select 1");
        await command.ExecuteScalarAsync(ct);
    }
}
