namespace TokenService.Telemetry;

/// <summary>Metrics. This room uses no other room; the other rooms pass it their numbers.</summary>
internal static class TelemetrySetup
{
    public static IServiceCollection AddTelemetry(this IServiceCollection services) => services.AddMetrics().AddSingleton<Metrics>();
}
