// An API that takes tokens of TokenService and verifies them by itself:
//   dotnet run -- --Authority http://127.0.0.1:8080 --Audience https://api.example.com
//   curl -H "Authorization: Bearer $token" http://127.0.0.1:5000/invoices

using System.Security.Claims;
using Examples;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;

var builder = WebApplication.CreateBuilder(args);
var authority = new Uri(Setting("Authority")); // the server's Issuer: keys and their rotation are found from there
var audience = Setting("Audience"); // what this API is called in the server's table "resource"

builder.Services.AddAuthentication().AddJwtBearer(options =>
{
    options.Authority = authority.OriginalString;
    options.Audience = audience;
    options.TokenValidationParameters.ValidTypes = ["at+jwt"]; // RFC 9068 §4: an access token, and no other JWT of this issuer
    options.RequireHttpsMetadata = !authority.IsLoopback; // who can change the keys on their way to us can make tokens
    options.MapInboundClaims = false; // claims keep their names: sub, client_id, scope
    options.Events = new JwtBearerEvents { OnForbidden = SayWhichScopeAsync };
});
RevokedTokens.Refuse(builder.Services); // RevokedTokens.cs. Without, a token is good until it ends, whatever has happened since
// A wrong setting ends the program at its start, not each request with 500.
builder.Services.AddOptions<JwtBearerOptions>(JwtBearerDefaults.AuthenticationScheme).ValidateOnStart();
// An endpoint for which somebody forgot to say what it needs is not open to all.
builder.Services.AddAuthorizationBuilder()
    .SetFallbackPolicy(new AuthorizationPolicyBuilder().RequireAuthenticatedUser().Build());

var app = builder.Build();
app.MapGet("/invoices", (ClaimsPrincipal caller) => $"The invoices, for {caller.FindFirstValue("client_id")}")
    .RequireScope("invoices:read");
app.MapPost("/invoices", () => Results.Created("/invoices/4", 4))
    .RequireScope("invoices:write");
app.Run();

string Setting(string name) => builder.Configuration[name] ?? throw new InvalidOperationException($"The setting {name} is missing.");

// RFC 6750 §3.1. The 401s, without a token or with a bad one, are JwtBearer's own.
static Task SayWhichScopeAsync(ForbiddenContext context)
{
    var needed = context.HttpContext.GetEndpoint()?.Metadata.GetMetadata<NeededScope>();
    context.Response.Headers.WWWAuthenticate = $"Bearer error=\"insufficient_scope\", scope=\"{needed?.Scope}\"";
    return Task.CompletedTask;
}

internal sealed record NeededScope(string Scope);

internal static class ScopePolicy
{
    /// <summary>Only with a token that has this scope. RFC 6749 §3.3: the claim holds all of them, a space between each.</summary>
    public static RouteHandlerBuilder RequireScope(this RouteHandlerBuilder endpoint, string scope) => endpoint
        .WithMetadata(new NeededScope(scope))
        .RequireAuthorization(policy => policy
            .RequireAuthenticatedUser()
            .RequireAssertion(context => context.User.FindFirstValue("scope")?.Split(' ').Contains(scope) == true));
}
