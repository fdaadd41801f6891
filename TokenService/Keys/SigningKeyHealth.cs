using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace TokenService.Keys;

/// <summary>Healthy while this replica can sign a token with the default algorithm.</summary>
internal sealed class SigningKeyHealth(SigningKeys keys) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken)
    {
        var signer = await keys.SignerAsync(algorithm: null, lifetime: TimeSpan.Zero, cancellationToken);
        return signer.TryGet(out _, out var error) ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy(error.Detail);
    }
}
