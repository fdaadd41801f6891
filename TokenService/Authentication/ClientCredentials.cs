using System.Text;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>The one way a request authenticates its client, RFC 6749 §2.3.</summary>
internal abstract record ClientCredentials(string ClientId, string Secret)
{
    /// <summary>The name of the way, from the registry of RFC 8414 §2's token_endpoint_auth_methods_supported.</summary>
    public abstract string Method { get; }

    /// <summary>RFC 6749 §2.3.1, HTTP Basic.</summary>
    public sealed record Basic(string ClientId, string Secret) : ClientCredentials(ClientId, Secret)
    {
        public const string Name = "client_secret_basic";

        public override string Method => Name;
    }

    /// <summary>RFC 6749 §2.3.1, in the request body.</summary>
    public sealed record Post(string ClientId, string Secret) : ClientCredentials(ClientId, Secret)
    {
        public const string Name = "client_secret_post";

        public override string Method => Name;
    }

    /// <summary>Every way there is.</summary>
    public static IReadOnlyList<string> Methods { get; } = [Basic.Name, Post.Name];

    /// <summary>Finds the one way. Several are an invalid_request, none is an invalid_client.</summary>
    /// <param name="authorization">The values of the Authorization header, one for each time it was sent.</param>
    /// <param name="form">The body.</param>
    public static Result<ClientCredentials> Read(IReadOnlyList<string?> authorization, Form form)
    {
        // RFC 6749 §2.3: no more than one method in a request, whether or not each would do.
        var ways = authorization.Count
            + (form["client_secret"] is null ? 0 : 1)
            + (form["client_assertion"] is null ? 0 : 1);
        if (ways > 1)
            return OAuthError.InvalidRequest("The client authenticates in more than one way.");

        if (authorization is [{ } header])
            return ReadBasic(header, form);
        if (form["client_secret"] is { } secret)
            return ReadPost(secret, form);
        return OAuthError.InvalidClient("no client authentication that is offered here");
    }

    // A record's own ToString would print the secret into any log that is handed one of these.
    public sealed override string ToString() => $"{Method} {ClientId}";

    private static Result<ClientCredentials> ReadBasic(string header, Form form)
    {
        if (BasicCredentials.Parse(header).Refused(out var error, out var basic))
            return error;
        // RFC 6749 §3.2.1 lets a client name itself in the body too. Two names would leave it open who asks.
        if (form["client_id"] is { } named && named != basic.ClientId)
            return OAuthError.InvalidRequest("The client_id in the body is not the one in the Authorization header.");
        return Check(new Basic(basic.ClientId, basic.Secret));
    }

    private static Result<ClientCredentials> ReadPost(string secret, Form form) =>
        form["client_id"] is { } clientId
            ? Check(new Post(clientId, secret))
            : OAuthError.InvalidRequest("The parameter client_id is missing.");

    private static Result<ClientCredentials> Check(ClientCredentials presented)
    {
        // A secret in the place of the id, as when the two are swapped, must not get into the log as an id.
        if (!Protocol.ClientId.IsWellFormed(presented.ClientId) || GeneratedSecret.HasPrefix(presented.ClientId))
            return OAuthError.InvalidClient("the client_id is not one a client can have");
        // RFC 6749 §2.3.1: an omitted secret is the empty one, which no client has.
        if (presented.Secret.Length == 0 || Encoding.UTF8.GetByteCount(presented.Secret) > ClientSecret.MaxLength)
            return OAuthError.InvalidClient("the secret is empty or too long");
        return presented;
    }
}
