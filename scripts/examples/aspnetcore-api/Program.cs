// An API that accepts tokens of TokenService and verifies them offline:
//   dotnet run -- --Authority http://127.0.0.1:8080 --Audience https://api.example.com
//   curl -H "Authorization: Bearer $token" http://127.0.0.1:5000/invoices
// A token that is bound to a key (RFC 9449) is sent as "Authorization: DPoP $token", with a proof in the header DPoP.

using System.Security.Claims;
using Examples;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;

var builder = WebApplication.CreateBuilder(args);
var authority = new Uri(Setting("Authority")); // the server's Issuer; JwtBearer finds the keys from its metadata
var audience = Setting("Audience"); // the name of this API in the server's table "resource"

builder.Services.AddAuthentication().AddJwtBearer(options =>
{
    options.Authority = authority.OriginalString;
    options.Audience = audience;
    // RFC 9068 §4: only access tokens, no other JWT of this issuer
    options.TokenValidationParameters.ValidTypes = ["at+jwt"];
    // An attacker who can change the keys in transit can forge tokens.
    options.RequireHttpsMetadata = !authority.IsLoopback;
    options.MapInboundClaims = false; // claims keep their names: sub, client_id, scope
    options.Events = new JwtBearerEvents { OnForbidden = NameTheScopeAsync };
});
DpopAuthentication.Accept(builder.Services); // Dpop/. Without this line tokens that are bound to a key are bearer tokens
RevokedTokens.Refuse(builder.Services); // RevokedTokens.cs. Without this line a revoked token is valid until it expires
// A wrong setting ends the program at its start, not each request with 500.
builder.Services.AddOptions<JwtBearerOptions>(JwtBearerDefaults.AuthenticationScheme).ValidateOnStart();
// An endpoint without a stated scope still requires a token.
builder.Services.AddAuthorizationBuilder()
    .SetFallbackPolicy(new AuthorizationPolicyBuilder().RequireAuthenticatedUser().Build());

builder.WebHost.ConfigureKestrel(Tls.Restrict); // Tls.cs

var app = builder.Build();
app.MapGet("/invoices", (ClaimsPrincipal caller) => $"The invoices, for {caller.FindFirstValue("client_id")}")
    .RequireScope("invoices:read");
app.MapPost("/invoices", () => Results.Created("/invoices/4", 4))
    .RequireScope("invoices:write");
app.MapProtectedResource("invoices:read", "invoices:write"); // ProtectedResource.cs
app.Run();

string Setting(string name) => builder.Configuration[name] ?? throw new InvalidOperationException($"The setting {name} is missing.");

// RFC 6750 §3.1, RFC 9449 §7.1. DpopAuthentication answers 401 to a missing or bad token.
static Task NameTheScopeAsync(ForbiddenContext context)
{
    var needed = context.HttpContext.GetEndpoint()?.Metadata.GetMetadata<NeededScope>();
    var scheme = DpopAuthentication.SchemeOf(context.Request);
    context.Response.Headers.WWWAuthenticate = $"{scheme} error=\"insufficient_scope\", scope=\"{needed?.Scope}\"";
    return Task.CompletedTask;
}

internal sealed record NeededScope(string Scope);

internal static class ScopePolicy
{
    /// <summary>
    /// Requires a token with this scope. RFC 6749 §3.3: the claim lists the scopes, separated by spaces.
    /// </summary>
    public static RouteHandlerBuilder RequireScope(this RouteHandlerBuilder endpoint, string scope) => endpoint
        .WithMetadata(new NeededScope(scope))
        .RequireAuthorization(policy => policy
            .RequireAuthenticatedUser()
            .RequireAssertion(context => context.User.FindFirstValue("scope")?.Split(' ').Contains(scope) == true));
}
