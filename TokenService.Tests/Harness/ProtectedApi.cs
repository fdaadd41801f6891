using System.Security.Claims;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace TokenService.Tests.Harness;

/// <summary>
/// An API that accepts the server's tokens, with a verifier that is not ours: ASP.NET Core's JwtBearer. It is told its
/// issuer, its audience and the type of the tokens; all other options, its clock included, are the defaults.
/// </summary>
internal sealed class ProtectedApi : IAsyncDisposable
{
    private readonly WebApplication app;

    private ProtectedApi(
        string issuer, string audience, HttpMessageHandler issuerHandler,
        Action<JwtBearerOptions> configure, Action<IServiceCollection> configureServices)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        // The largest bad tokens must reach the verifier; by default Kestrel would answer them with 431.
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.MaxRequestHeadersTotalSize = 1024 * 1024);
        builder.Services.AddAuthorization();
        builder.Services.AddAuthentication().AddJwtBearer(options =>
        {
            options.Authority = issuer;
            options.Audience = audience;
            options.RequireHttpsMetadata = issuer.StartsWith("https:", StringComparison.Ordinal);
            options.TokenValidationParameters.ValidTypes = ["at+jwt"];
            options.BackchannelHttpHandler = issuerHandler;
            // The event only records the failure; it does not change the answer.
            options.Events = new JwtBearerEvents
            {
                OnAuthenticationFailed = context => Task.FromResult(Failure = context.Exception),
            };
        });
        // Runs after JwtBearer's own configuration, which creates the object that fetches the keys.
        builder.Services.PostConfigure(JwtBearerDefaults.AuthenticationScheme, configure);
        configureServices(builder.Services);
        app = builder.Build();
        app.MapGet("/", (ClaimsPrincipal caller) => caller.Claims.ToDictionary(claim => claim.Type, claim => claim.Value))
            .RequireAuthorization();
    }

    /// <summary>Why the verifier refused the token of the last request; null: it did not.</summary>
    public Exception? Failure { get; private set; }

    public Uri Address => new(app.Urls.Single());

    public static Task<ProtectedApi> StartAsync(TestServer server, string audience = "https://api.example.com") =>
        StartAsync(TestServer.Issuer, server.NewHandler(), audience);

    /// <param name="issuer">The Authority of JwtBearer.</param>
    /// <param name="issuerHandler">How the verifier reaches the issuer.</param>
    /// <param name="audience">The audience that the API accepts.</param>
    /// <param name="configure">Changes further options, such as the clock where it must not be the real one.</param>
    /// <param name="configureServices">Adds further services to the API.</param>
    public static async Task<ProtectedApi> StartAsync(
        string issuer, HttpMessageHandler issuerHandler, string audience = "https://api.example.com",
        Action<JwtBearerOptions>? configure = null, Action<IServiceCollection>? configureServices = null)
    {
        var api = new ProtectedApi(
            issuer, audience, issuerHandler, configure ?? (_ => { }), configureServices ?? (_ => { }));
        await api.app.StartAsync();
        return api;
    }

    /// <param name="authorization">The Authorization header; null for none.</param>
    /// <param name="query">Appended to the path.</param>
    /// <param name="proof">The DPoP header; null for none.</param>
    public async Task<Answer> GetAsync(string? authorization, string query = "", string? proof = null)
    {
        Failure = null;
        using var client = new HttpClient { BaseAddress = Address };
        using var request = new HttpRequestMessage(HttpMethod.Get, "/" + query);
        if (authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        if (proof is not null)
            request.Headers.TryAddWithoutValidation("DPoP", proof);
        using var response = await client.SendAsync(request);
        return await Answer.ReadAsync(response);
    }

    public ValueTask DisposeAsync() => app.DisposeAsync();
}
