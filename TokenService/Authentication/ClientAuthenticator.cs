using System.Net;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>A client that was authenticated. Later code does not depend on the kind of credential.</summary>
/// <param name="Client">The client. If its credential had to be hashed, it was looked up again after that.</param>
/// <param name="Method">The method of authentication, as in RFC 8414 §2.</param>
/// <param name="Credential">The credential that was verified.</param>
internal sealed record AuthenticatedClient(Client Client, string Method, CredentialId Credential);

/// <summary>The outcome of an authentication.</summary>
/// <param name="Result">The client, or the error that refuses the caller.</param>
/// <param name="IsKnownClient">True when the client that the caller names exists, whether or not the caller is that client.</param>
internal readonly record struct AuthenticationOutcome(Result<AuthenticatedClient> Result, bool IsKnownClient);

/// <summary>
/// Decides whether the caller is the client it names. The caller gets the same answer whether the client is unknown, is
/// disabled or may not use this method, or its credential is wrong or no longer valid; only the event log has the
/// reason. To add a kind of credential, add a record in <see cref="ClientCredentials"/>, a verifier, and a line in
/// <c>VerifyAsync</c>.
/// </summary>
internal sealed class ClientAuthenticator(ClientCache clients, SecretAuthentication secrets, TimeProvider clock)
{
    private const int MaxColonsInId = 8;

    private static readonly Rate Rereads = new(Burst: 10, Interval: TimeSpan.FromSeconds(1));

    private readonly RateLimiter<string> rereads = new(clock);

    private static readonly TimeSpan RetryAfterDatabaseLost = TimeSpan.FromSeconds(5);

    /// <param name="source">The caller's address, for the limits on failed attempts.</param>
    public async ValueTask<AuthenticationOutcome> AuthenticateAsync(
        ClientCredentials credentials, IPAddress? source, CancellationToken ct)
    {
        var authentication = await VerifyAsync(credentials, source, ct);
        // While the database is unavailable, a caller that names an unknown client gets 503. A caller with a wrong secret
        // gets the same, or it would learn which clients exist.
        return !authentication.Result.TryGet(out _, out var error)
            && error.Status == StatusCodes.Status401Unauthorized
            && clients.IsDatabaseLost
                ? authentication with
                {
                    Result = OAuthError.TemporarilyUnavailable(Reason.DatabaseUnavailable, RetryAfterDatabaseLost, error.Reason),
                }
                : authentication;
    }

    /// <summary>
    /// The client_id as the event log may have it; null: no known client has it, and it is probably a secret.
    /// </summary>
    public string? IdToLog(ClientCredentials credentials) =>
        clients.IsKnown(credentials.ClientId) || !LookSwapped(credentials) ? credentials.ClientId : null;

    /// <summary>
    /// True when a client has this id, as far as the cache or the database knows. Costs what a request with a wrong secret
    /// does.
    /// </summary>
    public async ValueTask<bool> IsClientAsync(string clientId, CancellationToken ct)
    {
        if (!ClientId.IsWellFormed(clientId) || GeneratedSecret.HasPrefix(clientId))
            return false;
        try
        {
            return await clients.FindAsync(clientId, ct) is not null;
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            return clients.IsKnown(clientId);
        }
    }

    private bool LookSwapped(ClientCredentials credentials) =>
        SwappedCredentials.LookSwapped(credentials)
        || (credentials is ClientCredentials.WithSecret { Secret: var secret } && clients.IsKnown(secret.Value));

    private async ValueTask<AuthenticationOutcome> VerifyAsync(
        ClientCredentials credentials, IPAddress? source, CancellationToken ct)
    {
        // The checksum shows that no client has this secret, so it is refused without a query or a hash.
        if (credentials is ClientCredentials.WithSecret { Secret: { IsDamaged: true } damaged })
            return new(OAuthError.InvalidClient(Reason.SecretDamaged, damaged.Defect), clients.IsKnown(credentials.ClientId));

        var client = await FindAsync(credentials, ct);
        return new(await VerifyAsync(credentials, client, source, ct), IsKnownClient: client is not null);
    }

    private async ValueTask<Result<AuthenticatedClient>> VerifyAsync(
        ClientCredentials credentials, Client? client, IPAddress? source, CancellationToken ct)
    {
        var failure = FailureOf(client, credentials);
        var verification = await VerifyCredentialAsync(credentials, failure is null ? client : null, source, ct);
        if (!verification.TryGet(out var verified, out var error))
        {
            return failure is not null && error.Status == StatusCodes.Status401Unauthorized
                ? OAuthError.InvalidClient(failure, client is null ? DefectOfId(credentials) : null)
                : error;
        }

        if (verified.TookTime)
        {
            // The client or its credential may have been withdrawn meanwhile.
            client = await clients.FindAsync(credentials.ClientId, ct);
            failure = FailureOf(client, credentials) ?? verified.FailureOf(client!, clock.GetUtcNow());
            if (failure is not null)
                return OAuthError.InvalidClient(failure);
        }

        return new AuthenticatedClient(client!, credentials.Method, verified.Id);
    }

    private async ValueTask<Client?> FindAsync(ClientCredentials credentials, CancellationToken ct)
    {
        var client = await clients.FindAsync(credentials.ClientId, out var isCached, ct);
        if (!isCached || credentials is not ClientCredentials.WithSecret { Secret.Selector: { } selector })
            return client;
        if (client?.HasSecret(selector) is true)
            return client;

        // The cached client lacks the row that the secret names. An admin may have added the secret a moment ago, with
        // its notification still on the way, so the client is read again. The same is done for an unknown client, so
        // that the time of the answer does not tell which clients exist. The limit keeps guessed selectors from
        // flooding the database.
        return rereads.TryTake(credentials.ClientId, Rereads, out _)
            ? await clients.ReadAsync(credentials.ClientId, ct)
            : client;
    }

    private ValueTask<Result<VerifiedCredential>> VerifyCredentialAsync(
        ClientCredentials credentials, Client? client, IPAddress? source, CancellationToken ct) =>
        credentials switch
        {
            ClientCredentials.WithSecret secret => secrets.VerifyAsync(secret, client, source, ct),
            _ => throw new InvalidOperationException($"No verifier handles the method {credentials.Method}."),
        };

    // In HTTP Basic the id ends at the first colon. A client that does not form-encode its id sends the rest of it as the
    // beginning of its secret. The loop does not end at a match, so that the time does not tell which clients exist.
    private string? DefectOfId(ClientCredentials credentials)
    {
        if (credentials is not ClientCredentials.Basic { ClientId: var begun, Secret.Value: var secret })
            return null;
        var (isKnown, colon) = (false, -1);
        for (var i = 0; i < MaxColonsInId && (colon = secret.IndexOf(':', colon + 1)) >= 0; i++)
            isKnown |= clients.IsKnown($"{begun}:{secret.AsSpan(0, colon)}");
        return isKnown ? "the client must send the colon in its id as %3A" : null;
    }

    // Why every credential of this method is refused; null: a credential of this method is allowed.
    private static string? FailureOf(Client? client, ClientCredentials credentials) => client switch
    {
        null => Reason.UnknownClient,
        { IsEnabled: false } => Reason.ClientDisabled,
        _ when !client.AuthenticationMethods.Contains(credentials.Method) => Reason.AuthMethodNotAllowed,
        _ => null,
    };
}
