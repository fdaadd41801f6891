using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Tests.Harness;

/// <summary>
/// Validates a JWT with Microsoft.IdentityModel.JsonWebTokens. The server uses that package for names and for the JWK of
/// a key, but neither to write a JWT nor to read one.
/// </summary>
internal static class SecondOpinion
{
    /// <summary>Validates with the server's published keys and the real time, as strictly as the package can.</summary>
    /// <param name="server">The server whose JWKS has the keys.</param>
    /// <param name="jwt">The JWT in question.</param>
    /// <param name="type">The one <c>typ</c> that is expected.</param>
    /// <param name="audience">The one <c>aud</c> that is expected.</param>
    /// <param name="algorithm">The one <c>alg</c> that is expected; null: that of any published key.</param>
    /// <param name="expires">False: the JWT has no <c>exp</c>.</param>
    public static async Task<TokenValidationResult> ValidateAsync(
        TestServer server, string jwt, string type, string audience, string? algorithm = null, bool expires = true)
    {
        var keys = new JsonWebKeySet((await server.GetAsync("/.well-known/jwks.json")).Body);
        return await new JsonWebTokenHandler().ValidateTokenAsync(jwt, new TokenValidationParameters
        {
            ValidIssuer = TestServer.Issuer,
            ValidAudience = audience,
            ValidTypes = [type],
            ValidAlgorithms = algorithm is null ? null : [algorithm],
            IssuerSigningKeys = keys.GetSigningKeys(),
            // Only the key that kid names.
            TryAllIssuerSigningKeys = false,
            RequireExpirationTime = expires,
            ClockSkew = TimeSpan.Zero,
        });
    }
}
