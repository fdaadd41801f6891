using Microsoft.Extensions.Options;
using TokenService.Endpoints;
using TokenService.Keys;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Tokens;

namespace TokenService;

/// <summary>Settings, checked before they are used.</summary>
internal static class Settings
{
    /// <summary>One section of the settings.</summary>
    /// <exception cref="StartRefusedException">At least one setting in it is wrong; a line for each.</exception>
    public static T Get<T>(IServiceProvider services)
        where T : class
    {
        Refuse(Failures<T>(services));
        return services.GetRequiredService<IOptions<T>>().Value;
    }

    /// <summary>Checks every setting of the server before anything uses one, so that an operator sees all that is wrong at once.</summary>
    /// <exception cref="StartRefusedException">At least one setting is wrong; a line for each.</exception>
    public static void Check(IServiceProvider services)
    {
        Refuse(
        [
            .. Failures<IssuerOptions>(services),
            .. Failures<PostgresOptions>(services),
            .. Failures<KeyOptions>(services),
            .. Failures<HashingOptions>(services),
            .. Failures<TokenOptions>(services),
            .. Failures<ProxyOptions>(services),
        ]);
    }

    private static void Refuse(IEnumerable<string> failures)
    {
        if (failures.Any())
            throw new StartRefusedException(string.Join(Environment.NewLine, failures));
    }

    private static IEnumerable<string> Failures<T>(IServiceProvider services)
        where T : class
    {
        try
        {
            _ = services.GetRequiredService<IOptions<T>>().Value;
            return [];
        }
        catch (OptionsValidationException e)
        {
            return e.Failures;
        }
        // What the binder throws: a value of the wrong type, or a setting nobody knows. It names the setting.
        catch (InvalidOperationException e)
        {
            return [e.Message];
        }
    }
}
