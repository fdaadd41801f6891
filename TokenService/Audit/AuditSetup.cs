using Microsoft.Extensions.Options;
using TokenService.Configuration;

namespace TokenService.Audit;

/// <summary>
/// What happened, for people who were not there: an event for each request. (What admins change is recorded by the database itself.)
/// </summary>
internal static class AuditSetup
{
    public static IServiceCollection AddAudit(this IServiceCollection services)
    {
        services.AddSettings<EventLogOptions>(EventLogOptions.Section);
        services.AddSingleton(provider => EventOutput.Of(provider.GetRequiredService<IOptions<EventLogOptions>>()));
        services.AddSingleton<EventLog>();
        services.AddHostedService(provider => provider.GetRequiredService<EventLog>());
        return services;
    }
}
