using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Clients;

/// <summary>An assertion (RFC 7523), for the libraries that leave it to their user.</summary>
internal static class Assertion
{
    public static string Sign(CallerSettings settings, string audience)
    {
        var key = new JsonWebKey(File.ReadAllText(settings.KeyFile));
        return new JsonWebTokenHandler().CreateToken(new SecurityTokenDescriptor
        {
            TokenType = "client-authentication+jwt",
            Issuer = settings.ClientId,
            Audience = audience,
            Claims = new Dictionary<string, object> { ["sub"] = settings.ClientId, ["jti"] = $"{Guid.NewGuid():N}" },
            Expires = DateTime.UtcNow.AddMinutes(1),
            SigningCredentials = new SigningCredentials(key, key.Alg),
        });
    }
}
