using System.Net;
using System.Security.Cryptography;
using Microsoft.Extensions.Options;
using TokenService.Caching;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>
/// Verifies a presented secret against the live secrets of a client. A secret that was verified lately is recognised without hashing.
/// A guess at a generated secret costs no hash, unless the guesser knows its public selector. A guess at an imported secret costs one
/// hash, for an unknown client too, or one for each imported secret of the client, of which there are at most four.
/// </summary>
internal sealed class SecretAuthentication(
    VerifiedSecretCache verified,
    FailedAttemptLimiter failures,
    HashingQueue hashing,
    IOptions<HashingOptions> options,
    TimeProvider clock)
{
    // It costs what a real one costs, and no secret matches it.
    private readonly ClientSecret dummy = new()
    {
        Id = "dummy",
        Digest = new Argon2Digest(
            options.Value.Cost,
            RandomNumberGenerator.GetBytes(Argon2Digest.SaltLength),
            RandomNumberGenerator.GetBytes(Argon2Digest.HashLength)),
        NotBefore = DateTimeOffset.MinValue,
        ExpiresAt = null,
        RevokedAt = null,
        HasBegun = true,
        IsOver = false,
    };

    // Of many requests that present one secret for the first time, one hashes it.
    private readonly SingleFlight<(string ClientId, SecretMac), Result<ClientSecret?>> verifications = new();

    /// <param name="credentials">The client's id and secret, as presented.</param>
    /// <param name="client">The client; null: there is none that the secret could authenticate, and the outcome takes as long.</param>
    /// <param name="source">Where the request comes from.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Refused with invalid_client when no live secret matches, with 429 or 503 when it cannot be verified now.</returns>
    public async ValueTask<Result<VerifiedCredential>> VerifyAsync(
        ClientCredentials.WithSecret credentials, Client? client, IPAddress? source, CancellationToken ct)
    {
        var secret = credentials.Secret;
        var (candidates, failure) = Candidates(client, secret);
        foreach (var candidate in candidates)
        {
            if (candidate.Recognition == Recognition.Current)
                return new VerifiedCredential.Secret(candidate.Row);
        }

        // A secret of another system names no row. If there is none to try, the dummy is tried, so that an unknown client takes as
        // long as a wrong secret.
        if (candidates.Count == 0 && secret.Selector is null)
            candidates.Add(ToCandidate(dummy, secret));
        if (candidates.Count == 0)
            return OAuthError.InvalidClient(failure);

        if (!(await HashAsync(credentials, candidates, source, ct)).TryGet(out var match, out var error))
            return error;
        return match is null ? OAuthError.InvalidClient(failure) : new VerifiedCredential.Secret(match);
    }

    // A generated secret names its row, so there is one candidate at most. An imported one may be any imported secret that is alive.
    private (List<Candidate> Candidates, string Failure) Candidates(Client? client, PresentedSecret secret)
    {
        List<Candidate> candidates = [];
        var (now, failure) = (clock.GetUtcNow(), secret.Selector is null ? Reason.SecretWrong : Reason.SecretUnknown);
        foreach (var row in client?.Secrets ?? [])
        {
            if (!secret.CanBe(row))
                continue;
            if (row.FailureAt(now) is { } dead)
                failure = secret.Selector is null ? failure : dead;
            else
                candidates.Add(ToCandidate(row, secret));
        }

        return (candidates, candidates.Count > 0 ? Reason.SecretWrong : failure);
    }

    private Candidate ToCandidate(ClientSecret row, PresentedSecret secret)
    {
        var mac = verified.MacOf(row, secret.Value);
        return new Candidate(row, mac, verified.Recognise(row, mac));
    }

    private async Task<Result<ClientSecret?>> HashAsync(
        ClientCredentials.WithSecret credentials, List<Candidate> candidates, IPAddress? source, CancellationToken ct)
    {
        // A secret that was verified before is hashed again, and the failed attempts of others do not keep it out. Neither, for a
        // while, does a server that has too much to hash.
        var known = candidates.Find(candidate => candidate.Recognition != Recognition.None);
        var result = await JoinVerificationAsync(credentials, candidates, source, isLimited: known is null).WaitAsync(ct);
        return known?.Recognition == Recognition.Recent && !result.TryGet(out _, out _) ? known.Row : result;
    }

    private Task<Result<ClientSecret?>> JoinVerificationAsync(
        ClientCredentials.WithSecret credentials, List<Candidate> candidates, IPAddress? source, bool isLimited)
    {
        var key = (credentials.ClientId, verified.MacOf([.. candidates.Select(candidate => candidate.Mac)]));
        if (verifications.Find(key) is { } running)
            return running;

        // The attempts on a generated secret that names a live row are counted on that row alone, and it is hashed first, so that no
        // flood of other guesses stands in its way, not even one from the same address. (No client_id has a space.)
        var namesRow = credentials.Secret.Selector is not null;
        var attempt = namesRow
            ? new Attempt($"{credentials.ClientId} {candidates[0].Row.Id}", Source: null)
            : new Attempt(credentials.ClientId, source);
        if (isLimited && !failures.Begin(attempt).TryGet(out _, out var error))
            return Task.FromResult<Result<ClientSecret?>>(error);

        var joined = verifications.RunAsync(key, () => MatchAsync(credentials.Secret.Value, candidates, attempt, isLimited), out var isOwn);
        if (isLimited && !isOwn)
            failures.Forgive(attempt);
        return joined;
    }

    // Goes on when the caller goes away, so that nobody escapes being counted.
    private async Task<Result<ClientSecret?>> MatchAsync(
        string presented, List<Candidate> candidates, Attempt attempt, bool isLimited)
    {
        var result = await MatchAnyAsync(presented, candidates, namesRow: attempt.Source is null);
        var isWrong = result.TryGet(out var match, out _) && match is null;
        if (isLimited && !isWrong)
            failures.Forgive(attempt);
        return result;
    }

    private async Task<Result<ClientSecret?>> MatchAnyAsync(string presented, List<Candidate> candidates, bool namesRow)
    {
        foreach (var candidate in candidates)
        {
            if (!(await hashing.MatchesAsync(presented, candidate.Row.Digest, namesRow)).TryGet(out var matches, out var error))
                return error;
            if (!matches)
                continue;
            verified.Add(candidate.Row, candidate.Mac);
            return candidate.Row;
        }

        return (ClientSecret?)null;
    }

    /// <param name="Row">A live secret that the presented one can be.</param>
    /// <param name="Mac">The MAC of the presented secret as that of the row.</param>
    /// <param name="Recognition">When the presented secret was last verified as that of the row.</param>
    private sealed record Candidate(ClientSecret Row, SecretMac Mac, Recognition Recognition);
}
