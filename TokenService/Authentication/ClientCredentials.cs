using System.Text;
using TokenService.Configuration;
using TokenService.Proofs;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>The credentials in a request (RFC 6749 §2.3): a closed set, with a record for each method.</summary>
internal abstract record ClientCredentials(string ClientId)
{
    /// <summary>
    /// The name of the method, from the registry of RFC 8414 §2's token_endpoint_auth_methods_supported.
    /// </summary>
    public abstract string Method { get; }

    /// <summary>RFC 6749 §2.3.1: a client secret, sent in the header or in the body.</summary>
    public abstract record WithSecret(string ClientId, PresentedSecret Secret) : ClientCredentials(ClientId);

    /// <summary>RFC 6749 §2.3.1, HTTP Basic.</summary>
    public sealed record Basic(string ClientId, PresentedSecret Secret) : WithSecret(ClientId, Secret)
    {
        public const string Name = "client_secret_basic";

        public override string Method => Name;
    }

    /// <summary>RFC 6749 §2.3.1, in the request body.</summary>
    public sealed record Post(string ClientId, PresentedSecret Secret) : WithSecret(ClientId, Secret)
    {
        public const string Name = "client_secret_post";

        public override string Method => Name;
    }

    /// <summary>RFC 7523 §2.2: an assertion signed with a key of the client, in the request body.</summary>
    public sealed record Assertion(ClientAssertion Jwt) : ClientCredentials(Jwt.ClientId)
    {
        public const string Name = "private_key_jwt";

        public override string Method => Name;
    }

    /// <summary>The methods that this server accepts under a profile.</summary>
    public static IReadOnlyList<string> Methods(ServerProfile profile) =>
        profile.AllowsSecrets ? [Basic.Name, Post.Name, Assertion.Name] : [Assertion.Name];

    /// <summary>
    /// Reads the credentials. Several methods in one request are invalid_request; none is invalid_client.
    /// </summary>
    /// <param name="authorization">
    /// The values of the Authorization header, which a caller may send more than once.
    /// </param>
    /// <param name="form">The request body.</param>
    public static Result<ClientCredentials> Read(IReadOnlyList<string?> authorization, Form form)
    {
        // RFC 6749 §2.3: only one method in a request, even if each of them would authenticate the client.
        var (header, headers) = NotEmpty(authorization);
        var (secret, assertion, type) = (form["client_secret"], form["client_assertion"], form["client_assertion_type"]);
        if (headers + (secret is null ? 0 : 1) + (assertion is null ? 0 : 1) > 1)
        {
            return OAuthError.InvalidRequest(
                Reason.SeveralAuthMethods,
                "The client authenticates in more than one way. Send the credentials either in the header or in the body.");
        }

        // RFC 7521 §4.2: the one without the other means nothing, and nothing else is then believed.
        if (assertion is null != type is null)
            return OAuthError.ParameterMissing(assertion is null ? "client_assertion" : "client_assertion_type");
        if (assertion is not null)
            return ReadAssertion(assertion, type!, form);
        if (header is not null)
            return ReadBasic(header, form);
        return secret is null ? OAuthError.InvalidClient(Reason.NoCredentials) : ReadPost(secret, form);
    }

    // Some libraries send an Authorization header without a value when they have no credentials for it.
    private static (string? Last, int Count) NotEmpty(IReadOnlyList<string?> authorization)
    {
        var (last, count) = ((string?)null, 0);
        foreach (var value in authorization)
        {
            if (!string.IsNullOrEmpty(value))
                (last, count) = (value, count + 1);
        }

        return (last, count);
    }

    private static Result<ClientCredentials> ReadBasic(string header, Form form)
    {
        if (!BasicCredentials.Parse(header).TryGet(out var basic, out var error))
            return error;
        // RFC 6749 §3.2.1 lets a client send its client_id in the body too. Two different ids are refused as ambiguous.
        if (form["client_id"] is { } named && named != basic.ClientId)
        {
            return OAuthError.InvalidRequest(
                Reason.ClientIdMismatch, "The client_id in the body is not the one in the Authorization header.");
        }

        return Check(new Basic(basic.ClientId, PresentedSecret.Parse(basic.Secret, basic.UndecodedSecret)));
    }

    private static Result<ClientCredentials> ReadPost(string secret, Form form) =>
        form["client_id"] is { } clientId
            ? Check(new Post(clientId, PresentedSecret.Parse(secret, form.UndecodedSecret)))
            : OAuthError.ParameterMissing("client_id");

    private static Result<ClientCredentials> ReadAssertion(string jwt, string type, Form form)
    {
        if (type != ClientAssertion.ParameterType)
            return OAuthError.InvalidClient(Reason.AssertionTypeUnknown);
        if (!ClientAssertion.Read(jwt).TryGet(out var assertion, out var error))
            return error;
        // RFC 7521 §4.2: the client_id is not needed, and names the same client.
        if (form["client_id"] is { } named && named != assertion.ClientId)
        {
            return OAuthError.InvalidRequest(
                Reason.ClientIdMismatch, "The client_id in the body is not the subject of the client_assertion.");
        }

        return DefectOfId(assertion.ClientId) is { } defect ? defect : new Assertion(assertion);
    }

    // A caller that swaps id and secret sends its secret as client_id, which the event log would then contain. Refuse it
    // here.
    private static OAuthError? DefectOfId(string clientId) =>
        Protocol.ClientId.IsWellFormed(clientId) && !GeneratedSecret.HasPrefix(clientId)
            ? null
            : OAuthError.InvalidClient(
                Reason.ClientIdMalformed, LineBreak.Ends(clientId) ? "the client_id ends in a line break" : null);

    private static Result<ClientCredentials> Check(WithSecret credentials)
    {
        if (DefectOfId(credentials.ClientId) is { } defect)
            return defect;

        // RFC 6749 §2.3.1: an omitted secret means the empty string, which is no client's secret.
        if (Encoding.UTF8.GetByteCount(credentials.Secret.Value) is 0 or > ClientSecret.MaxLength)
            return OAuthError.InvalidClient(Reason.SecretLength);
        return credentials;
    }
}
