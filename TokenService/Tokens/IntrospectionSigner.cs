using System.Text.Json;
using TokenService.Clients;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// Makes signed answers of introspection, RFC 9701: a JWT for the API that asked, named by its client_id, with the answer inside. It has
/// neither <c>sub</c> nor <c>exp</c>, and a type of its own, so that it cannot pass for an access token (RFC 9701 §5, §8.1).
/// </summary>
internal sealed class IntrospectionSigner(Issuer issuer, SigningKeys keys, TimeProvider clock)
{
    /// <summary>RFC 9701 §4; its media type is <c>application/</c> and this.</summary>
    public const string Type = "token-introspection+jwt";

    private readonly JwsWriter writer = new(Type);

    /// <param name="answer">The answer.</param>
    /// <param name="write">Writes it, as a JSON object.</param>
    /// <param name="api">Who asked. What its resource wants tokens signed with, it can verify.</param>
    /// <param name="ct">Ends the wait for the database, which seldom has to be asked for keys.</param>
    /// <returns>The JWT, in ASCII. Refused with 503 while there is no key to sign with.</returns>
    /// <exception cref="Npgsql.NpgsqlException">The database would have to be asked, and is away.</exception>
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
