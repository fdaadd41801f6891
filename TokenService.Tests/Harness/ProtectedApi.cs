using System.Security.Claims;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace TokenService.Tests.Harness;

/// <summary>
/// An API that takes our tokens, with a verifier nobody here wrote: ASP.NET Core's, told where the issuer is, who it is itself
/// and what type of token it wants, and otherwise left as it comes, its clock included.
/// </summary>
internal sealed class ProtectedApi : IAsyncDisposable
{
    private readonly WebApplication app;

    private ProtectedApi(string issuer, string audience, HttpMessageHandler wayToIssuer, Action<JwtBearerOptions> inItsTime, Action<IServiceCollection> and)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        // So that the verifier itself meets the largest bad tokens, which Kestrel would otherwise answer with 431.
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.MaxRequestHeadersTotalSize = 1024 * 1024);
        builder.Services.AddAuthorization();
        builder.Services.AddAuthentication().AddJwtBearer(options =>
        {
            options.Authority = issuer;
            options.Audience = audience;
            options.RequireHttpsMetadata = issuer.StartsWith("https:", StringComparison.Ordinal);
            options.TokenValidationParameters.ValidTypes = ["at+jwt"];
            options.BackchannelHttpHandler = wayToIssuer;
            // Only looks on.
            options.Events = new JwtBearerEvents { OnAuthenticationFailed = context => Task.FromResult(Failure = context.Exception) };
        });
        // Behind JwtBearer's own, which makes what fetches the keys.
        builder.Services.PostConfigure(JwtBearerDefaults.AuthenticationScheme, inItsTime);
        and(builder.Services);
        app = builder.Build();
        app.MapGet("/", (ClaimsPrincipal caller) => caller.Claims.ToDictionary(claim => claim.Type, claim => claim.Value))
            .RequireAuthorization();
    }

    /// <summary>Why the verifier refused a token; null while it refused none.</summary>
    public Exception? Failure { get; private set; }

    public Uri Address => new(app.Urls.Single());

    public static Task<ProtectedApi> StartAsync(TestServer server, string audience = "https://api.example.com") =>
        StartAsync(TestServer.Issuer, server.NewHandler(), audience);

    /// <param name="issuer">The Authority.</param>
    /// <param name="wayToIssuer">How it is reached.</param>
    /// <param name="audience">What the API is called.</param>
    /// <param name="inItsTime">Gives the verifier another clock, where it must not run on the real one.</param>
    /// <param name="and">What the API has besides.</param>
    public static async Task<ProtectedApi> StartAsync(
        string issuer, HttpMessageHandler wayToIssuer, string audience = "https://api.example.com",
        Action<JwtBearerOptions>? inItsTime = null, Action<IServiceCollection>? and = null)
    {
        var api = new ProtectedApi(issuer, audience, wayToIssuer, inItsTime ?? (_ => { }), and ?? (_ => { }));
        await api.app.StartAsync();
        return api;
    }

    /// <param name="authorization">The Authorization header; null for none.</param>
    /// <param name="query">Behind the path.</param>
    public async Task<Answer> GetAsync(string? authorization, string query = "")
    {
        Failure = null;
        using var client = new HttpClient { BaseAddress = Address };
        using var request = new HttpRequestMessage(HttpMethod.Get, "/" + query);
        if (authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        using var response = await client.SendAsync(request);
        return await Answer.ReadAsync(response);
    }

    public ValueTask DisposeAsync() => app.DisposeAsync();
}
