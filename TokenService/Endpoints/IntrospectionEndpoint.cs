using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;
using TokenService.Protocol;
using TokenService.Revocation;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary><c>POST /introspect</c>: what is this token worth? RFC 7662, for APIs; signed, RFC 9701, for those that ask for it so.</summary>
internal sealed class IntrospectionEndpoint(ClientRequestPipeline endpoint, TokenStatus tokens, IntrospectionSigner signer)
{
    public const string Path = "/introspect";

    private const string SignedType = "application/" + IntrospectionSigner.Type;

    public Task AnswerAsync(HttpContext http) =>
        endpoint.AnswerAsync(http, Path, (request, ct) => IntrospectAsync(request, http.Request.Headers.Accept, ct));

    private async ValueTask<Result<IAnswer>> IntrospectAsync(ClientRequest request, StringValues accept, CancellationToken ct)
    {
        // 1. RFC 7662 §2.1: not everybody may ask.
        if (request.Client.Resources.Count == 0)
            return OAuthError.UnauthorizedClient("This client speaks for no resource: an admin has to register it for one.");
        // 2. RFC 7662 §2.1: which token. The hint is of no use here, since there is one kind.
        if (request.Form["token"] is not { } jwt)
            return OAuthError.InvalidRequest("The parameter token is missing.");

        // 3. RFC 7662 §4: every check there is.
        var validation = await tokens.IntrospectAsync(jwt, request.Client, ct);
        request.Happened.Reason = validation.Failure;
        request.Happened.TokenId = validation.Token?.Id;
        request.Happened.TokenClientId = validation.Token?.ClientId;
        request.Happened.Resource = validation.Token?.Audience;

        // 4. RFC 7662 §2.2, or RFC 9701 §5.
        var answer = new IntrospectionResponse(validation.Failure is null ? validation.Token : null);
        byte[]? signed = null;
        if (WantsSigned(accept)
            && (await signer.SignAsync<JsonAnswer>(answer, static (answer, json) => answer.WriteTo(json), request.Client, ct))
                .Refused(out var error, out signed))
            return error;
        request.Happened.IsActive = validation.Failure is null;
        return signed is null ? answer : new JwtAnswer(signed, IntrospectionSigner.Type);
    }

    // RFC 9701 §4 and RFC 9110 §12.5.1: who names the type wants it, unless JSON is named and wanted more.
    private static bool WantsSigned(StringValues accept)
    {
        if (accept.Count == 0 || !MediaTypeHeaderValue.TryParseList(accept, out var types))
            return false;
        return Quality(SignedType) is > 0 and var wanted && wanted >= Quality("application/json");

        double Quality(string name)
        {
            var named = types.FirstOrDefault(type => type.MediaType.Equals(name, StringComparison.OrdinalIgnoreCase));
            return named is null ? 0 : named.Quality ?? 1;
        }
    }
}
