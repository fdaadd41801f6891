namespace TokenService.Telemetry;

/// <summary>Metrics. Knows nothing of what is measured.</summary>
internal static class TelemetrySetup
{
    public static IServiceCollection AddTelemetry(this IServiceCollection services) => services.AddMetrics().AddSingleton<Metrics>();
}
