using System.Text.Json;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;
using TokenService.Authentication;
using TokenService.Protocol;
using TokenService.Revocation;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>
/// <c>POST /introspect</c>: an API asks whether a token is valid (RFC 7662). The response is signed (RFC 9701) if the
/// API asks for that.
/// </summary>
internal sealed class IntrospectionEndpoint(TokenStatus tokens, IntrospectionSigner signer, ClientAuthenticator authenticator)
{
    public const string Path = "/introspect";

    private const string SignedType = "application/" + IntrospectionSigner.Type;

    public async ValueTask<Result<IAnswer>> IntrospectAsync(ClientRequest request, CancellationToken ct)
    {
        // 6a. RFC 7662 §2.1: only a client that an admin registered for a resource may ask.
        if (request.Client.Resources.Count == 0)
        {
            return OAuthError.UnauthorizedClient(
                Reason.NoResourceServer, "This client speaks for no resource: an admin has to register it for one.");
        }

        // 6b. RFC 7662 §2.1: the token. A token_type_hint is ignored, since there is one kind of token.
        if (request.Form["token"] is not { } jwt)
            return OAuthError.ParameterMissing("token");

        // 6c. RFC 7662 §4: all checks of the token.
        var validation = await tokens.IntrospectAsync(jwt, request.Client, ct);
        request.Event.SetToken(validation);

        // 6d. The response: JSON (RFC 7662 §2.2) or a JWT (RFC 9701 §5).
        var isActive = validation.Failure is null;
        var answer = new IntrospectionResponse(isActive ? validation.Token : null);
        var response = await SignIfWantedAsync(answer, request, ct);
        if (!response.TryGet(out _, out _))
            return response;

        // 6e. RFC 7523 §3: an assertion works once.
        if (await authenticator.UseUpAsync(request.Caller, request.Event, ct) is { } refusal)
            return refusal;
        request.Event.IsActive = isActive;
        return response;
    }

    private async ValueTask<Result<IAnswer>> SignIfWantedAsync(IntrospectionResponse answer, ClientRequest request, CancellationToken ct)
    {
        if (!WantsSigned(request.Headers.Accept))
            return answer;
        var signing = await signer.SignAsync<JsonAnswer>(
            answer, static (answer, json) => answer.WriteTo(json), request.Client, ct);
        return signing.TryGet(out var signed, out var error) ? new JwtAnswer(signed, IntrospectionSigner.Type) : error;
    }

    // RFC 9701 §4 and RFC 9110 §12.5.1: the caller gets a JWT if its Accept header names that type, unless it prefers
    // JSON.
    private static bool WantsSigned(StringValues accept)
    {
        if (accept.Count == 0 || !MediaTypeHeaderValue.TryParseList(accept, out var types))
            return false;
        var signed = Quality(SignedType);
        return signed > 0 && signed >= Quality("application/json");

        double Quality(string name)
        {
            var named = types.FirstOrDefault(type => type.MediaType.Equals(name, StringComparison.OrdinalIgnoreCase));
            return named is null ? 0 : named.Quality ?? 1;
        }
    }
}

/// <summary>RFC 7662 §2.2.</summary>
/// <param name="Token">The token's claims; null: the token is not active, and the response says only that.</param>
internal sealed record IntrospectionResponse(ValidatedToken? Token) : JsonAnswer
{
    public override void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteBoolean("active"u8, Token is not null);
        if (Token is not null)
        {
            json.WriteString("token_type"u8, Token.Confirmation.TokenType);
            foreach (var claim in Token.Claims.EnumerateObject())
            {
                // The extra claims of a client may have these names, which have another meaning in this response.
                if (claim.Name is not ("active" or "token_type"))
                    claim.WriteTo(json);
            }
        }

        json.WriteEndObject();
    }
}
