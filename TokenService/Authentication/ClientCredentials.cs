using System.Text;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>The one way a request authenticates its client (RFC 6749 §2.3): a closed set, a record for each kind of credential.</summary>
internal abstract record ClientCredentials(string ClientId)
{
    /// <summary>The name of the method, from the registry of RFC 8414 §2's token_endpoint_auth_methods_supported.</summary>
    public abstract string Method { get; }

    /// <summary>RFC 6749 §2.3.1: the client password, whichever way it came.</summary>
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

    /// <summary>Every method there is.</summary>
    public static IReadOnlyList<string> Methods { get; } = [Basic.Name, Post.Name];

    /// <summary>Finds the one method. Several are an invalid_request, none is an invalid_client.</summary>
    /// <param name="authorization">The values of the Authorization header, one for each time it was sent.</param>
    /// <param name="form">The body.</param>
    public static Result<ClientCredentials> Read(IReadOnlyList<string?> authorization, Form form)
    {
        // RFC 6749 §2.3: no more than one method in a request, whether or not each would do.
        var methods = authorization.Count
            + (form["client_secret"] is null ? 0 : 1)
            + (form["client_assertion"] is null ? 0 : 1);
        if (methods > 1)
            return OAuthError.InvalidRequest(Reason.SeveralAuthMethods, "The client authenticates in more than one way.");

        if (authorization is [{ } header])
            return ReadBasic(header, form);
        if (form["client_secret"] is { } secret)
            return ReadPost(secret, form);
        return OAuthError.InvalidClient(Reason.NoCredentials);
    }

    private static Result<ClientCredentials> ReadBasic(string header, Form form)
    {
        if (!BasicCredentials.Parse(header).TryGet(out var basic, out var error))
            return error;
        // RFC 6749 §3.2.1 lets a client name itself in the body too. Two names would leave it open who asks.
        if (form["client_id"] is { } named && named != basic.ClientId)
        {
            return OAuthError.InvalidRequest(
                Reason.ClientIdMismatch, "The client_id in the body is not the one in the Authorization header.");
        }

        return Check(new Basic(basic.ClientId, PresentedSecret.Parse(basic.Secret)));
    }

    private static Result<ClientCredentials> ReadPost(string secret, Form form) =>
        form["client_id"] is { } clientId
            ? Check(new Post(clientId, PresentedSecret.Parse(secret)))
            : OAuthError.ParameterMissing("client_id");

    private static Result<ClientCredentials> Check(WithSecret credentials)
    {
        // A secret in the place of the id, as when the two are swapped, must not get into the log as an id.
        if (!Protocol.ClientId.IsWellFormed(credentials.ClientId) || GeneratedSecret.HasPrefix(credentials.ClientId))
            return OAuthError.InvalidClient(Reason.ClientIdMalformed);
        // RFC 6749 §2.3.1: an omitted secret is the empty one, which no client has.
        if (Encoding.UTF8.GetByteCount(credentials.Secret.Value) is 0 or > ClientSecret.MaxLength)
            return OAuthError.InvalidClient(Reason.SecretLength);
        return credentials;
    }
}
