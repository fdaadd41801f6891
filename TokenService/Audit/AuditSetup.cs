using Microsoft.Extensions.Options;
using TokenService.Configuration;

namespace TokenService.Audit;

/// <summary>
/// The event log: one event for each request that authenticates a client. (The database itself records the changes that
/// admins make.)
/// </summary>
internal static class AuditSetup
{
    public static IServiceCollection AddAudit(this IServiceCollection services)
    {
        services.AddSettings<EventLogOptions>(EventLogOptions.Section, (options, section) => section.Bind(options));
        services.AddSingleton(provider => EventOutput.Of(
            provider.GetRequiredService<IOptions<EventLogOptions>>(), provider.GetRequiredService<ILogger<EventOutput>>()));
        services.AddSingleton<EventLog>();
        services.AddHostedService(provider => provider.GetRequiredService<EventLog>());
        return services;
    }
}
