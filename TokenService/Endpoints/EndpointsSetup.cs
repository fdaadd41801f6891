using System.Globalization;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Options;
using TokenService.Configuration;
using TokenService.Limits;
using TokenService.Protocol;
using TokenService.Revocation;
using IPNetwork = System.Net.IPNetwork;

namespace TokenService.Endpoints;

/// <summary>
/// The HTTP endpoints: their paths, reading requests and writing responses. No other room uses HttpContext.
/// </summary>
internal static partial class EndpointsSetup
{
    /// <summary>Answers 200 while the process is up.</summary>
    public const string LivePath = "/healthz/live";

    private const string KestrelLimits = "Kestrel:Limits";

    // Bytes that a connection buffers in each direction: enough for headers or a body of 16 KiB.
    private const int MaxBuffer = 16 * 1024;

    private static readonly string[] TimesOfKestrel = ["Timeout", "GracePeriod", "KeepAlivePingDelay"];

    private static readonly string[] GetAndHead = [HttpMethods.Get, HttpMethods.Head];

    public static IServiceCollection AddEndpoints(this IServiceCollection services)
    {
        services.AddSettings<ProxyOptions>((options, configuration) =>
        {
            options.Proxies = ReadList(configuration.GetSection(nameof(ProxyOptions.Proxies)));
            options.TlsTerminatedUpstream = ReadFlag(configuration[nameof(ProxyOptions.TlsTerminatedUpstream)]);
        });
        services.AddSettings<MetadataOptions>(MetadataOptions.Section, (options, section) => section.Bind(options));
        services.Configure<KestrelServerOptions>(LimitRequests);
        // ASP.NET Core itself reads only Kestrel:Endpoints. The operator's limits come after this server's own. Kestrel takes
        // them before the settings are checked, so the check binds them again.
        services.AddOptions<KestrelServerOptions>().Configure<IConfiguration>((kestrel, configuration) =>
            Bind(configuration.GetSection(KestrelLimits), kestrel.Limits));
        services.AddSettings<KestrelServerLimits>((_, configuration) =>
        {
            var kestrel = new KestrelServerOptions();
            LimitRequests(kestrel);
            if (Bind(configuration.GetSection(KestrelLimits), kestrel.Limits) is { Count: > 0 } errors)
                throw new OptionsValidationException(KestrelLimits, typeof(KestrelServerLimits), errors);
        });
        services.Configure<SocketTransportOptions>(LimitBuffers);
        return services
            .AddSingleton<FormReader>()
            .AddSingleton<OAuthResponse>()
            .AddSingleton<ClientRequestPipeline>()
            .AddSingleton<TokenEndpoint>()
            .AddSingleton<IntrospectionEndpoint>()
            .AddSingleton<RevocationEndpoint>()
            .AddSingleton<RevokedTokensEndpoint>()
            .AddSingleton<JwksEndpoint>()
            .AddSingleton<MetadataEndpoint>()
            .AddSingleton<AuthorizationEndpoint>()
            .AddSingleton<ReadinessEndpoint>()
            .AddSingleton<HomePage>()
            .AddSingleton<ErrorPages>();
    }

    public static void MapEndpoints(this WebApplication app)
    {
        var services = app.Services;
        var issuer = services.GetRequiredService<Issuer>();
        var proxies = services.GetRequiredService<IOptions<ProxyOptions>>().Value;
        TrustProxies(app, proxies.Proxies);
        if (issuer.RequiresTls && proxies.TlsTerminatedUpstream is true)
            Log.TlsTerminatedUpstream(app.Logger);

        // No browser may take an answer for something else than its media type.
        app.Use((http, next) =>
        {
            http.Response.Headers.XContentTypeOptions = "nosniff";
            return next(http);
        });
        AnswerClientRequests(app, issuer);
        app.UseRouting();
        ThrottleUnmapped(app);

        var revoked = services.GetRequiredService<RevokedTokensEndpoint>();
        var jwks = services.GetRequiredService<JwksEndpoint>();
        var metadata = services.GetRequiredService<MetadataEndpoint>();

        app.MapMethods(issuer.Path + RevokedTokensList.Path, GetAndHead, revoked.AnswerAsync);
        app.MapMethods(issuer.Path + JwksEndpoint.Path, GetAndHead, jwks.AnswerAsync);
        app.MapMethods(MetadataEndpoint.PathFor(issuer), GetAndHead, metadata.AnswerAsync);
        app.MapMethods(MetadataEndpoint.OpenIdPathFor(issuer), GetAndHead, metadata.AnswerOpenIdAsync);
        if (services.GetRequiredService<IOptions<MetadataOptions>>().Value.AdvertiseAuthorizationEndpoint)
        {
            // RFC 6749 §3.1: GET, and POST too.
            app.MapMethods(
                issuer.Path + AuthorizationEndpoint.Path,
                [.. GetAndHead, HttpMethods.Post],
                services.GetRequiredService<AuthorizationEndpoint>().AnswerAsync);
        }

        app.MapMethods(issuer.Path + "/", GetAndHead, services.GetRequiredService<HomePage>().AnswerAsync);
        services.GetRequiredService<ErrorPages>().Map(app, issuer, GetAndHead);

        app.Map(LivePath, http => AnswerLiveAsync(http, services.GetRequiredService<HealthThrottle>()));
        app.Map(ReadinessEndpoint.Path, services.GetRequiredService<ReadinessEndpoint>().AnswerAsync);
    }

    // The endpoints that authenticate a client are found by a look-up instead of routing, which would take a fiftieth of a
    // request's processor time. As with routing, neither the case of letters nor a last slash makes a difference. All HTTP
    // methods are answered, so that a method other than POST gets an OAuth error too.
    private static void AnswerClientRequests(WebApplication app, Issuer issuer)
    {
        var services = app.Services;
        var pipeline = services.GetRequiredService<ClientRequestPipeline>();
        var byPath = new Dictionary<string, RequestDelegate>(StringComparer.OrdinalIgnoreCase);
        Add(TokenEndpoint.Path, services.GetRequiredService<TokenEndpoint>().GrantAsync);
        Add(IntrospectionEndpoint.Path, services.GetRequiredService<IntrospectionEndpoint>().IntrospectAsync);
        Add(RevocationEndpoint.Path, services.GetRequiredService<RevocationEndpoint>().RevokeAsync);
        app.Use((http, next) => byPath.TryGetValue(http.Request.Path.Value ?? "", out var answer) ? answer(http) : next(http));

        void Add(string path, ClientRequestHandler handler)
        {
            byPath[issuer.Path + path] = http => pipeline.AnswerAsync(http, path, handler);
            byPath[issuer.Path + path + "/"] = byPath[issuer.Path + path];
        }
    }

    private static void ThrottleUnmapped(WebApplication app)
    {
        var throttle = app.Services.GetRequiredService<DocumentThrottle>();
        // A path that is not mapped, or a method: routing answers 404 or 405.
        app.Use((http, next) => http.GetEndpoint() is RouteEndpoint ? next(http) : AnswerUnmappedAsync(http, next));

        async Task AnswerUnmappedAsync(HttpContext http, RequestDelegate next)
        {
            await throttle.WaitAsync(http.RequestAborted);
            await next(http);
        }
    }

    private static async Task AnswerLiveAsync(HttpContext http, HealthThrottle throttle)
    {
        await throttle.WaitAsync(http.RequestAborted);
        http.Response.ContentType = "text/plain";
        http.Response.Headers.CacheControl = "no-store";
        await http.Response.WriteAsync("Healthy", http.RequestAborted);
    }

    // The setting is either one value, as Proxies=…, or a list, as Proxies:0=…
    private static string[] ReadList(IConfigurationSection section) =>
        section.Value is { } one ? [one] : [.. section.GetChildren().Select(proxy => proxy.Value ?? "")];

    private static bool? ReadFlag(string? value) =>
        value is null ? false : bool.TryParse(value, out var flag) ? flag : null;

    // Returns a line for each setting that is wrong.
    private static List<string> Bind(IConfigurationSection section, KestrelServerLimits limits)
    {
        List<string> errors =
        [
            .. SettingsShape.Errors(typeof(KestrelServerLimits), section),
            .. SettingsShape.Errors(typeof(Http2Limits), section.GetSection(nameof(limits.Http2))),
            .. SettingsShape.Errors(typeof(Http3Limits), section.GetSection(nameof(limits.Http3))),
        ];
        // A time that is a plain number is one of days, which nobody means.
        errors.AddRange(section.AsEnumerable()
            .Where(setting => TimesOfKestrel.Any(name => setting.Key.EndsWith(name, StringComparison.OrdinalIgnoreCase))
                && TimeSpan.TryParse(setting.Value, CultureInfo.InvariantCulture, out var time) && time > TimeSpan.FromDays(1))
            .Select(setting => $"{setting.Key} must be a time such as 00:05:00, of at most a day."));
        try
        {
            if (errors.Count == 0)
                section.Bind(limits);
        }
        // The setters of Kestrel's limits check their ranges, and the binder the forms of nested values. Neither message names
        // the setting, and the binder's may repeat its value.
        catch (ArgumentException outOfRange)
        {
            errors.Add($"{section.Path} has a value out of range: {outOfRange.Message}");
        }
        catch (InvalidOperationException)
        {
            errors.Add($"{section.Path} has a value of another form than Kestrel's.");
        }

        // Kestrel itself would find these when it starts.
        if (limits.MaxRequestBufferSize < Math.Max(limits.MaxRequestLineSize, limits.MaxRequestHeadersTotalSize))
            errors.Add($"{section.Path}:MaxRequestBufferSize must not be less than MaxRequestLineSize and MaxRequestHeadersTotalSize.");
        return errors;
    }

    private static void TrustProxies(WebApplication app, string[] proxies)
    {
        // With empty lists ASP.NET Core would trust everybody.
        if (proxies.Length == 0)
            return;

        // X-Forwarded-For names the hops of a request. Both headers are read from the right, for as long as each hop is
        // a listed proxy; what stands further to the left, the caller may have written. Without X-Forwarded-For only the
        // connection's peer is known to be a proxy, so only the last value of X-Forwarded-Proto is read.
        app.UseWhen(http => !NamesHops(http), branch => branch.UseForwardedHeaders(Trusting(proxies, limit: 1)));
        app.UseWhen(NamesHops, branch => branch.UseForwardedHeaders(Trusting(proxies, limit: null)));

        static bool NamesHops(HttpContext http) => http.Request.Headers.ContainsKey("X-Forwarded-For");
    }

    private static ForwardedHeadersOptions Trusting(string[] proxies, int? limit)
    {
        var headers = new ForwardedHeadersOptions
        {
            ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto,
            ForwardLimit = limit,
        };
        // By default these hold the loopback addresses.
        headers.KnownProxies.Clear();
        headers.KnownIPNetworks.Clear();
        foreach (var proxy in proxies)
        {
            if (IPAddress.TryParse(proxy, out var address))
                headers.KnownProxies.Add(address);
            else
                headers.KnownIPNetworks.Add(IPNetwork.Parse(proxy));
        }

        return headers;
    }

    private static void LimitRequests(KestrelServerOptions kestrel)
    {
        kestrel.AddServerHeader = false;
        kestrel.ConfigureEndpointDefaults(LimitConnections);
        kestrel.ConfigureHttpsDefaults(CipherSuites.Limit);
        // Latin-1 decodes every byte, so that this server refuses a malformed header with an OAuth error. With UTF-8,
        // Kestrel would refuse it without one.
        kestrel.RequestHeaderEncodingSelector = _ => Encoding.Latin1;
        // FormReader refuses a shorter body already, with an OAuth error. This limit is for the endpoints that read no
        // body.
        kestrel.Limits.MaxRequestBodySize = 2 * Form.MaxLength;
        kestrel.Limits.MaxRequestHeadersTotalSize = 16 * 1024;
        kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
        // FormReader limits the time of each body. Kestrel's limit would end thousands of slow ones in one instant, with
        // an exception for each.
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MaxRequestBufferSize = MaxBuffer;
        kestrel.Limits.MaxResponseBufferSize = MaxBuffer;

        // An HTTP/2 connection counts as one, and each of its streams may hold as much as another connection.
        var http2 = kestrel.Limits.Http2;
        http2.MaxStreamsPerConnection = 16;
        http2.MaxRequestHeaderFieldSize = 16 * 1024;
        http2.InitialConnectionWindowSize = 64 * 1024;
        http2.InitialStreamWindowSize = 64 * 1024;
    }

    // By default Kestrel would read up to 1 MiB ahead of the request that it answers, on each connection.
    private static void LimitBuffers(SocketTransportOptions sockets)
    {
        sockets.MaxReadBufferSize = MaxBuffer;
        sockets.MaxWriteBufferSize = MaxBuffer;
    }

    // Runs when the server starts, for each endpoint of Urls or Kestrel:Endpoints. Its TLS comes after this. Kestrel's
    // own MaxConcurrentConnections would close each new connection, even while others are idle, and log a line for it.
    private static void LimitConnections(ListenOptions endpoint) =>
        endpoint.Limit(endpoint.ApplicationServices.GetRequiredService<ConnectionLimit>());

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "TlsTerminatedUpstream is on: plain http counts as TLS, from every address. Make sure that only the side-car or the "
            + "balancer that ends TLS can reach this port")]
        public static partial void TlsTerminatedUpstream(ILogger logger);
    }
}
