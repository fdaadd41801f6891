using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace TokenService.Keys;

/// <summary>Healthy while there is a key to sign with that this replica can open.</summary>
internal sealed class SigningKeyHealth(SigningKeys keys) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken)
    {
        var signer = await keys.SignerAsync(algorithm: null, lifetime: TimeSpan.Zero, cancellationToken);
        return signer.Refused(out var error, out _) ? HealthCheckResult.Unhealthy(error.Reason) : HealthCheckResult.Healthy();
    }
}
