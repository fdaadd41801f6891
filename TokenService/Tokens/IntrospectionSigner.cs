using System.Text.Json;
using TokenService.Clients;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// Makes signed introspection responses, RFC 9701: a JWT with the response inside, whose audience is the client_id of
/// the API that introspects. The JWT has neither <c>sub</c> nor <c>exp</c>, and a type of its own, so that no verifier
/// takes it for an access token (RFC 9701 §5, §8.1).
/// </summary>
internal sealed class IntrospectionSigner(Issuer issuer, SigningKeys keys, TimeProvider clock)
{
    /// <summary>
    /// The value of <c>typ</c> (RFC 9701 §5). The media type of the response is <c>application/</c> followed by it.
    /// </summary>
    public const string Type = "token-introspection+jwt";

    private readonly JwsWriter writer = new(Type);

    /// <param name="answer">The introspection response.</param>
    /// <param name="write">Writes the response as a JSON object.</param>
    /// <param name="api">The API that introspects. It can verify the algorithm that its resource asks for.</param>
    /// <param name="ct">Ends the wait for the database, which is seldom queried for keys.</param>
    /// <returns>The JWT, in ASCII. Refused with 503 while there is no key to sign with.</returns>
    /// <exception cref="Npgsql.NpgsqlException">
    /// A query for keys is necessary, and the database is unavailable.
    /// </exception>
    public async ValueTask<Result<byte[]>> SignAsync<T>(T answer, Action<T, Utf8JsonWriter> write, Client api, CancellationToken ct)
    {
        var algorithm = api.Resources.FirstOrDefault(resource => resource.SigningAlgorithm is not null)?.SigningAlgorithm;
        if (!(await keys.SignerAsync(algorithm, lifetime: TimeSpan.Zero, ct)).TryGet(out var signer, out var error))
            return error;

        var now = clock.GetUtcNow().ToUnixTimeSeconds();
        return writer.Write(signer, (issuer, api, now, answer, write), static (response, json) =>
        {
            json.WriteStartObject();
            json.WriteString("iss"u8, response.issuer.Value);
            json.WriteString("aud"u8, response.api.Id);
            json.WriteNumber("iat"u8, response.now);
            json.WritePropertyName("token_introspection"u8);
            response.write(response.answer, json);
            json.WriteEndObject();
        });
    }
}
