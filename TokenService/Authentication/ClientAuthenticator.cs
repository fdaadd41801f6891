using System.Net;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>A client that was authenticated. Nothing after this knows which kind of credential it was.</summary>
/// <param name="Client">The client.</param>
/// <param name="Method">The method of authentication, as in RFC 8414 §2.</param>
/// <param name="Credential">The credential.</param>
internal sealed record AuthenticatedClient(Client Client, string Method, CredentialId Credential);

/// <summary>
/// Decides whether the caller is the client it names. The caller gets one answer whether the client is unknown, disabled, not allowed
/// this method, or its credential wrong or dead; the reason is for the log. A new kind of credential is a record in
/// <see cref="ClientCredentials"/>, a verifier, and a line in <c>VerifyAsync</c>.
/// </summary>
internal sealed class ClientAuthenticator(ClientCache clients, SecretAuthentication secrets, TimeProvider clock)
{
    private static readonly Rate Rereads = new(Burst: 10, Interval: TimeSpan.FromSeconds(1));

    private readonly RateLimiter<string> rereads = new(clock);

    /// <param name="credentials">What the caller presents.</param>
    /// <param name="source">Where it comes from.</param>
    /// <param name="ct">Ends the wait.</param>
    public async ValueTask<Result<AuthenticatedClient>> AuthenticateAsync(
        ClientCredentials credentials, IPAddress? source, CancellationToken ct)
    {
        // The checksum tells that nobody has this secret: it costs neither a query nor a hash.
        if (credentials is ClientCredentials.WithSecret { Secret.IsDamaged: true })
            return OAuthError.InvalidClient(Reason.SecretDamaged);

        var client = await FindAsync(credentials, ct);
        var failure = FailureOf(client, credentials);
        if (!(await VerifyAsync(credentials, failure is null ? client : null, source, ct)).TryGet(out var verified, out var error))
            return failure is not null && error.Status == 401 ? OAuthError.InvalidClient(failure) : error;

        // Verification may have taken time: what was withdrawn meanwhile is not granted.
        client = await clients.FindAsync(credentials.ClientId, ct);
        failure = FailureOf(client, credentials);
        return failure is null && verified.IsHeldBy(client!, clock.GetUtcNow())
            ? new AuthenticatedClient(client!, credentials.Method, verified.Id)
            : OAuthError.InvalidClient(failure ?? Reason.SecretUnknown);
    }

    // The notification of a secret that was added a moment ago may still be on its way.
    private async ValueTask<Client?> FindAsync(ClientCredentials credentials, CancellationToken ct)
    {
        var client = await clients.FindAsync(credentials.ClientId, ct);
        return FailureOf(client, credentials) is null
            && credentials is ClientCredentials.WithSecret { Secret.Selector: { } selector }
            && client!.Secrets.All(secret => secret.Id != selector)
            && rereads.TryTake(credentials.ClientId, Rereads, out _)
                ? await clients.ReadAsync(credentials.ClientId, ct)
                : client;
    }

    private ValueTask<Result<VerifiedCredential>> VerifyAsync(
        ClientCredentials credentials, Client? client, IPAddress? source, CancellationToken ct) => credentials switch
    {
        ClientCredentials.WithSecret secret => secrets.VerifyAsync(secret, client, source, ct),
        _ => throw new InvalidOperationException($"There is no verifier for {credentials.Method}."),
    };

    // Why no credential of this method will do; null: one may.
    private static string? FailureOf(Client? client, ClientCredentials credentials) => client switch
    {
        null => Reason.UnknownClient,
        { IsEnabled: false } => Reason.ClientDisabled,
        _ when !client.AuthenticationMethods.Contains(credentials.Method) => Reason.AuthMethodNotAllowed,
        _ => null,
    };
}
