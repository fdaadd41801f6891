using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.Extensions.Options;

namespace Examples;

/// <summary>
/// The metadata of this API (RFC 9728), by which a client that knows only the API's address finds the server to get
/// tokens from, and what tokens the API accepts.
/// </summary>
public static class ProtectedResource
{
    private const string WellKnown = "/.well-known/oauth-protected-resource";

    /// <summary>
    /// Where the metadata of a resource is: the well-known path comes between its host and its path (RFC 9728 §3.1).
    /// </summary>
    /// <returns>Null: the identifier is not an http or https URL, so there is no metadata.</returns>
    public static string? AddressOf(string? identifier) => Parse(identifier) is { } url
        ? url.GetLeftPart(UriPartial.Authority) + PathOf(url) + url.Query
        : null;

    /// <summary>Serves the metadata to anybody.</summary>
    /// <param name="endpoints">The API's endpoints.</param>
    /// <param name="scopes">The scopes that the API knows.</param>
    public static void MapProtectedResource(this IEndpointRouteBuilder endpoints, params string[] scopes)
    {
        var bearer = endpoints.ServiceProvider.GetRequiredService<IOptionsMonitor<JwtBearerOptions>>()
            .Get(JwtBearerDefaults.AuthenticationScheme);
        var dpop = endpoints.ServiceProvider.GetRequiredService<IOptions<DpopOptions>>().Value;
        if (Parse(bearer.Audience) is not { } url)
            return;

        // RFC 9728 §2
        var metadata = new Dictionary<string, object>
        {
            ["resource"] = bearer.Audience!,
            ["authorization_servers"] = new[] { bearer.Authority! },
            ["bearer_methods_supported"] = new[] { "header" },
            ["scopes_supported"] = scopes,
            ["dpop_signing_alg_values_supported"] = dpop.AlgorithmNames,
        };
        if (dpop.Require)
            metadata["dpop_bound_access_tokens_required"] = true;
        endpoints.MapGet(PathOf(url), () => Results.Json(metadata, contentType: "application/json")).AllowAnonymous();
    }

    private static string PathOf(Uri url) => WellKnown + (url.AbsolutePath == "/" ? "" : url.AbsolutePath);

    // RFC 9728 §1.2 asks for https, and for no fragment. http is for trying things out.
    private static Uri? Parse(string? identifier) =>
        Uri.TryCreate(identifier, UriKind.Absolute, out var url) && url is { Scheme: "https" or "http", Fragment: "" } ? url : null;
}
