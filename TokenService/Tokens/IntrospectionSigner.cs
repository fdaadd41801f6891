using System.Text.Json;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// Makes signed introspection responses, RFC 9701: a JWT with the response inside, whose audience is the client_id of
/// the API that introspects. The JWT has neither <c>sub</c> nor <c>exp</c>, and a type of its own, so that no verifier
/// takes it for an access token (RFC 9701 §5, §8.1).
/// </summary>
internal sealed class IntrospectionSigner(Issuer issuer, SigningKeys keys, ServerProfile profile, TimeProvider clock)
{
    /// <summary>
    /// The value of <c>typ</c> (RFC 9701 §5). The media type of the response is <c>application/</c> followed by it.
    /// </summary>
    public const string Type = "token-introspection+jwt";

    private readonly JwsWriter writer = new(Type);

    /// <param name="answer">The introspection response.</param>
    /// <param name="write">Writes the response as a JSON object.</param>
    /// <param name="api">The API that introspects. It can verify the algorithms of its resources.</param>
    /// <param name="ct">Ends the wait for the database, which is seldom queried for keys.</param>
    /// <returns>
    /// The JWT, in ASCII. Refused with 503 while no key may sign with an algorithm of the API's resources.
    /// </returns>
    /// <exception cref="Npgsql.NpgsqlException">
    /// A query for keys is necessary, and the database is unavailable.
    /// </exception>
    public async ValueTask<Result<byte[]>> SignAsync<T>(T answer, Action<T, Utf8JsonWriter> write, Client api, CancellationToken ct)
    {
        if (!(await SignerAsync(api, ct)).TryGet(out var signer, out var error))
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

    // A resource's own algorithm comes before the default, which the API may be unable to verify. When the API is given
    // another resource, whose algorithm may not sign yet, its answers go on in the algorithm that it has verified so far.
    private async ValueTask<Result<Signer>> SignerAsync(Client api, CancellationToken ct)
    {
        OAuthError? refusal = null;
        var algorithms = api.Resources.Select(resource => resource.SigningAlgorithm).Distinct()
            .Where(own => own is null || profile.AllowsAlgorithm(own))
            .DefaultIfEmpty() // the server's own, which the profile allows
            .OrderBy(own => own is null);
        foreach (var algorithm in algorithms)
        {
            if ((await keys.SignerAsync(algorithm, lifetime: TimeSpan.Zero, ct)).TryGet(out var signer, out var error))
                return signer;
            refusal ??= error;
        }

        return refusal ?? throw new InvalidOperationException($"The client {api.Id} speaks for no resource, and yet it was answered.");
    }
}
