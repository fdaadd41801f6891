using System.Net;
using TokenService.Audit;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Proofs;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>A client that was authenticated. Later code does not depend on the kind of credential.</summary>
/// <param name="Client">The client. If its credential had to be hashed, it was looked up again after that.</param>
/// <param name="Credential">The credential that was verified.</param>
/// <param name="Remark">Text for the event log about the way in which it authenticated; null: there is nothing to say.</param>
internal sealed record AuthenticatedClient(Client Client, VerifiedCredential Credential, string? Remark = null)
{
    /// <summary>
    /// True when the credential may be used again, or was used up by <see cref="ClientAuthenticator.UseUpAsync"/>. Nothing
    /// is granted before that.
    /// </summary>
    public bool IsUsedUp { get; set; } = Credential is not VerifiedCredential.Key;
}

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
internal sealed class ClientAuthenticator(
    ClientCache clients,
    SecretAuthentication secrets,
    AssertionAuthentication assertions,
    UsedIds usedIds,
    ServerProfile profile,
    TimeProvider clock)
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
    /// Uses up a credential that works once. Each endpoint calls this when nothing else can refuse the request, and before
    /// it grants anything: a request that is refused for another reason can then be sent again with the same credential.
    /// </summary>
    /// <returns>
    /// The error that refuses the caller: the credential was used before, or the client was withdrawn meanwhile; null: go on.
    /// </returns>
    public ValueTask<OAuthError?> UseUpAsync(AuthenticatedClient authenticated, RequestEvent requestEvent, CancellationToken ct) =>
        authenticated is { IsUsedUp: false, Credential: VerifiedCredential.Key { Once: { } once } }
            ? UseUpAsync(authenticated, once, requestEvent, ct)
            : default;

    private async ValueTask<OAuthError?> UseUpAsync(
        AuthenticatedClient authenticated, OneTimeId once, RequestEvent requestEvent, CancellationToken ct)
    {
        if (!(await usedIds.UseAsync(once)).TryGet(out var use, out var error))
            return error;
        if (use == IdUse.OnMemoryAlone)
            requestEvent.ReplayCheck = RequestEvent.OnMemoryAlone;
        authenticated.IsUsedUp = true;
        // The client or the key may have been withdrawn meanwhile.
        var client = await clients.FindAsync(authenticated.Client.Id, ct);
        return !ReferenceEquals(client, authenticated.Client) && FailureOf(client, authenticated.Credential) is { } failure
            ? OAuthError.InvalidClient(failure)
            : null;
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
        var failure = FailureOf(client, credentials.Method);
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
            failure = FailureOf(client, credentials.Method) ?? verified.FailureOf(client!, clock.GetUtcNow());
            if (failure is not null)
                return OAuthError.InvalidClient(failure);
        }

        return new AuthenticatedClient(
            client!, verified, credentials is ClientCredentials.Assertion assertion ? assertions.RemarkOn(assertion.Jwt) : null);
    }

    private async ValueTask<Client?> FindAsync(ClientCredentials credentials, CancellationToken ct)
    {
        var client = await clients.FindAsync(credentials.ClientId, out var isCached, ct);
        if (!isCached || HasNamedRow(client, credentials))
            return client;

        // The cached client lacks the row that the secret or the assertion names. An admin may have added it a moment ago,
        // with its notification still on the way, so the client is read again. The same is done for an unknown client, so
        // that the time of the answer does not tell which clients exist. The limit keeps guessed names from flooding the
        // database.
        return rereads.TryTake(credentials.ClientId, Rereads, out _)
            ? await clients.ReadAsync(credentials.ClientId, ct)
            : client;
    }

    // True when the credentials name a row that the client has, or none.
    private static bool HasNamedRow(Client? client, ClientCredentials credentials) => credentials switch
    {
        ClientCredentials.WithSecret { Secret.Selector: { } selector } => client?.HasSecret(selector) is true,
        ClientCredentials.Assertion { Jwt.KeyId: { } kid } => client?.FindKey(kid) is not null,
        _ => true,
    };

    private ValueTask<Result<VerifiedCredential>> VerifyCredentialAsync(
        ClientCredentials credentials, Client? client, IPAddress? source, CancellationToken ct) =>
        credentials switch
        {
            ClientCredentials.WithSecret when !profile.AllowsSecrets => new(OAuthError.InvalidClient(Reason.SecretsOffByProfile)),
            ClientCredentials.WithSecret secret => secrets.VerifyAsync(secret, client, source, ct),
            ClientCredentials.Assertion assertion => new(assertions.Verify(assertion.Jwt, client, source)),
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

    private string? FailureOf(Client? client, VerifiedCredential credential) =>
        client is { IsEnabled: true } ? credential.FailureOf(client, clock.GetUtcNow()) : FailureOf(client, method: null);

    // Why every credential of this method is refused; null: a credential of this method is allowed.
    private static string? FailureOf(Client? client, string? method) => client switch
    {
        null => Reason.UnknownClient,
        { IsEnabled: false } => Reason.ClientDisabled,
        _ when method is not null && !client.AuthenticationMethods.Contains(method) => Reason.AuthMethodNotAllowed,
        _ => null,
    };
}
