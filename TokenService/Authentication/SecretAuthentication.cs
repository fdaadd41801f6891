using System.Collections.Immutable;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;
using TokenService.Caching;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>
/// Verifies a presented secret against the live secrets of a client. A recently verified secret is recognised without
/// hashing. A guess at a generated secret costs no hash, unless the attacker knows the selector of a live row. A guess
/// at an imported secret costs one hash for each imported secret of the client (at most four), and one hash if it has
/// none or is unknown.
/// </summary>
internal sealed class SecretAuthentication(
    VerifiedSecretCache verified,
    FailedAttemptLimiter failures,
    HashingQueue hashing,
    IOptions<HashingOptions> options,
    TimeProvider clock)
{
    // Verifying against it costs as much as against a real secret, and no secret matches it.
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

    // When many requests present the same secret for the first time, one of them hashes it and the others wait for the
    // result.
    private readonly SingleFlight<(string ClientId, SecretMac), Result<ClientSecret?>> verifications = new();

    /// <param name="credentials">The client's id and secret, as presented.</param>
    /// <param name="client">
    /// The client; null: no client can be authenticated, and the refusal takes as long as for a wrong secret.
    /// </param>
    /// <param name="source">The caller's address.</param>
    /// <param name="ct">Ends this caller's wait for the hash.</param>
    /// <returns>
    /// Refused with invalid_client when no live secret matches, with 429 after too many failed attempts, and with 503
    /// when hashing is overloaded.
    /// </returns>
    public async ValueTask<Result<VerifiedCredential>> VerifyAsync(
        ClientCredentials.WithSecret credentials, Client? client, IPAddress? source, CancellationToken ct)
    {
        var secret = credentials.Secret;
        var (candidates, failure) = Candidates(client, secret);
        foreach (var candidate in candidates)
        {
            if (candidate.Recognition == Recognition.Current)
                return new VerifiedCredential.Secret(candidate.Row, TookTime: false);
        }

        // A secret from another system contains no row's id. If it has no candidate, the dummy is hashed, so that an
        // unknown client takes as long as a wrong secret.
        if (candidates.Count == 0 && secret.Selector is null)
            candidates.Add(ToCandidate(dummy, secret));
        if (candidates.Count == 0)
            return OAuthError.InvalidClient(failure, secret.Defect);

        if (!(await HashAsync(credentials, candidates, source, ct)).TryGet(out var match, out var error))
            return error;
        return match is null
            ? OAuthError.InvalidClient(failure, secret.Defect ?? DefectOfEncoding(secret, candidates))
            : new VerifiedCredential.Secret(match, TookTime: true);
    }

    // Costs no hash: the secret as it was sent must have been verified before, as when the client once sent it encoded, or
    // in the other way.
    private string? DefectOfEncoding(PresentedSecret secret, List<Candidate> candidates)
    {
        if (secret.Undecoded is not { } undecoded || Encoding.UTF8.GetByteCount(undecoded) > ClientSecret.MaxLength)
            return null;
        return candidates.Exists(candidate => IsVerified(candidate.Row)) ? "the secret would match if the client form-encoded it" : null;

        bool IsVerified(ClientSecret row) =>
            verified.Recognise(row, undecoded, verified.MacOf(row, undecoded)) != Recognition.None;
    }

    // A generated secret contains the id of its row, so it has at most one candidate. For an imported secret, every
    // live imported secret of the client is a candidate.
    private (List<Candidate> Candidates, string Failure) Candidates(Client? client, PresentedSecret secret)
    {
        List<Candidate> candidates = [];
        var (now, failure) = (clock.GetUtcNow(), secret.Selector is null ? Reason.SecretWrong : Reason.SecretUnknown);
        foreach (var row in client?.Secrets ?? ImmutableArray<ClientSecret>.Empty)
        {
            if (!secret.CanBe(row))
                continue;
            var rowFailure = row.FailureAt(now);
            if (rowFailure is null)
                candidates.Add(ToCandidate(row, secret));
            else if (secret.Selector is not null)
                failure = rowFailure;
        }

        return (candidates, candidates.Count > 0 ? Reason.SecretWrong : failure);
    }

    private Candidate ToCandidate(ClientSecret row, PresentedSecret secret)
    {
        var mac = verified.MacOf(row, secret.Value);
        return new Candidate(row, mac, verified.Recognise(row, secret.Value, mac));
    }

    private async Task<Result<ClientSecret?>> HashAsync(
        ClientCredentials.WithSecret credentials, List<Candidate> candidates, IPAddress? source, CancellationToken ct)
    {
        // The secret was verified before, but not recently. It is hashed again without counting as an attempt, so
        // failed attempts by others do not lock its client out. If hashing is overloaded, a secret that is not yet Old
        // is accepted without a hash.
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

        // An attempt with the id of a live secret counts against that secret only, and it is hashed before others. (No
        // client_id contains a space, so targets stay distinct.)
        var namesRow = credentials.Secret.Selector is not null;
        var target = namesRow ? $"{credentials.ClientId} {candidates[0].Row.Id}" : credentials.ClientId;
        CountedAttempt? counted = null;
        if (isLimited)
        {
            if (!failures.TryBegin(new Attempt(target, source, namesRow), out var begun, out var error))
                return Task.FromResult<Result<ClientSecret?>>(error);
            counted = begun;
        }

        var verification = verifications.RunAsync(
            key, () => MatchAsync(credentials.Secret, candidates, counted), out var isOwn);
        // Another request started the same verification in between, and counted it.
        if (counted is { } twice && !isOwn)
            failures.Forgive(twice);
        return verification;
    }

    // This goes on after the caller disconnects, so that a caller cannot avoid the count of failed attempts.
    private async Task<Result<ClientSecret?>> MatchAsync(PresentedSecret presented, List<Candidate> candidates, CountedAttempt? counted)
    {
        var result = await MatchAnyAsync(presented, candidates, PriorityOf(counted));
        if (counted is not { } attempt)
            return result;
        if (!result.TryGet(out var match, out _))
            failures.ForgiveTarget(attempt);
        else if (match is not null)
            failures.Forgive(attempt);
        return result;
    }

    // An attempt that is not counted presents a secret that was verified before.
    private static HashingPriority PriorityOf(CountedAttempt? counted) => counted switch
    {
        null or { Attempt.NamesLiveSecret: true } => HashingPriority.KnownSecret,
        { IsFresh: true } => HashingPriority.SourceWithoutFailures,
        _ => HashingPriority.Other,
    };

    private async Task<Result<ClientSecret?>> MatchAnyAsync(
        PresentedSecret presented, List<Candidate> candidates, HashingPriority priority)
    {
        foreach (var candidate in candidates)
        {
            var hashed = await hashing.MatchesAsync(presented.Value, candidate.Row.Digest, priority);
            if (!hashed.TryGet(out var matches, out var error))
                return error;
            if (!matches)
                continue;
            verified.Add(candidate.Row, candidate.Mac);
            return candidate.Row;
        }

        return (ClientSecret?)null;
    }

    /// <param name="Row">A live secret that the presented one can be.</param>
    /// <param name="Mac">The MAC over the row and the presented secret.</param>
    /// <param name="Recognition">How long ago the presented secret was verified as the secret of the row.</param>
    private sealed record Candidate(ClientSecret Row, SecretMac Mac, Recognition Recognition);
}
