using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace TokenService.Keys;

/// <summary>The key ring this replica signs with, loaded before the first request is taken.</summary>
internal sealed class SigningKeys(SigningKeyStore store, TimeProvider clock) : IHealthCheck
{
    private volatile KeyRing ring = new([]);

    public KeyRing Ring => ring;

    /// <summary>Loads the ring, with a first key where there is none.</summary>
    /// <exception cref="StartRefusedException">A key is sealed with a sealing key that is not configured, or is another.</exception>
    public async Task LoadAsync(CancellationToken ct) =>
        ring = await store.LoadOrCreateAsync(clock.GetUtcNow(), ct);

    /// <summary>Healthy while there is a key to sign with.</summary>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken) =>
        Task.FromResult(ring.SigningAt(clock.GetUtcNow()) is null
            ? HealthCheckResult.Unhealthy("There is no signing key.")
            : HealthCheckResult.Healthy());
}
