using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>A client that has proved who it is.</summary>
/// <param name="Client">Who.</param>
/// <param name="Secret">With which of its secrets.</param>
internal sealed record AuthenticatedClient(Client Client, ClientSecret Secret);

/// <summary>
/// Decides whether the caller is the client it names. Unknown, disabled, not allowed this way, wrong secret, dead secret:
/// the caller sees one answer. Who guesses at a generated secret causes no hash, unless its public selector is known; who guesses at
/// an imported one causes one hash, for an unknown client too, or one for each imported secret of the client, of which there are few.
/// </summary>
internal sealed class ClientAuthenticator(
    ClientCache clients,
    VerifiedSecretCache remembered,
    FailedAttemptLimiter failures,
    HashingQueue hashing,
    IOptions<HashingOptions> options,
    TimeProvider clock)
{
    private static readonly Rate SecondRead = new(AtOnce: 10, Interval: TimeSpan.FromSeconds(1));

    private const string NoSuchSecret = "no live secret of the client is this one";

    // Costs what a real one costs, and no secret has it.
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

    private readonly RateLimiter<string> secondReads = new(clock);

    // Of many requests that present one secret for the first time, one hashes it.
    private readonly ConcurrentDictionary<(string ClientId, SecretMac), Lazy<Task<Result<ClientSecret?>>>> proofs = new();

    /// <param name="presented">What the caller presents.</param>
    /// <param name="source">Where it comes from.</param>
    /// <param name="ct">Ends the wait.</param>
    public async ValueTask<Result<AuthenticatedClient>> AuthenticateAsync(
        ClientCredentials presented, IPAddress? source, CancellationToken ct)
    {
        // Damaged secrets of ours are known by their checksum, whoever sends them: neither database nor hash.
        string? selector = null;
        if (GeneratedSecret.HasPrefix(presented.Secret) && !GeneratedSecret.TryReadSelector(presented.Secret, out selector))
            return OAuthError.InvalidClient("the secret is damaged: its checksum is wrong");

        var seen = See(await clients.FindAsync(presented.ClientId, ct), presented, selector);
        // Of a secret that was added a moment ago the news may be on its way.
        if (seen.LacksRow && secondReads.TryTake(presented.ClientId, SecondRead, out _))
            seen = See(await clients.ReadAsync(presented.ClientId, ct), presented, selector);

        foreach (var candidate in seen.Candidates)
        {
            if (remembered.Knows(candidate, remembered.MacOf(candidate, presented.Secret)))
                return new AuthenticatedClient(seen.Client!, candidate);
        }

        // A secret of another system names no row. Where there is none to try the dummy is, so that an unknown client takes as long as
        // a wrong secret.
        if (seen.Candidates.Count == 0 && selector is null)
            seen.Candidates.Add(dummy);
        if (seen.Candidates.Count == 0)
            return OAuthError.InvalidClient(seen.Obstacle ?? NoSuchSecret);

        if ((await ProveAsync(presented, seen.Candidates, namesRow: selector is not null, source, ct)).Refused(out var error, out var proved))
            return error;
        if (proved is null)
            return OAuthError.InvalidClient(seen.Obstacle ?? NoSuchSecret);

        // Hashing, and waiting for it, takes time: what was withdrawn meanwhile is not granted.
        seen = See(await clients.FindAsync(presented.ClientId, ct), presented, selector);
        return seen.Candidates.Find(candidate => candidate.IsSameAs(proved)) is { } current
            ? new AuthenticatedClient(seen.Client!, current)
            : OAuthError.InvalidClient(seen.Obstacle ?? NoSuchSecret);
    }

    // A secret of ours names its row, so there is one candidate, or none. Of those of another system each that is alive is tried.
    private Seen See(Client? client, ClientCredentials presented, string? selector)
    {
        List<ClientSecret> candidates = [];
        if (Obstacle(client, presented) is { } obstacle)
            return new Seen(client, obstacle, candidates, LacksRow: false);

        var (now, lacksRow) = (clock.GetUtcNow(), selector is not null);
        foreach (var secret in client!.Secrets)
        {
            if (selector is null ? !secret.IsImported : secret.Id != selector)
                continue;
            lacksRow = false;
            if (secret.IsAliveAt(now))
                candidates.Add(secret);
        }

        return new Seen(client, Obstacle: null, candidates, lacksRow);
    }

    private static string? Obstacle(Client? client, ClientCredentials presented) => client switch
    {
        null => "unknown client",
        { IsEnabled: false } => "the client is disabled",
        _ when !client.AuthenticationMethods.Contains(presented.Method) => $"the client may not use {presented.Method}",
        _ => null,
    };

    private async Task<Result<ClientSecret?>> ProveAsync(
        ClientCredentials presented, List<ClientSecret> candidates, bool namesRow, IPAddress? source, CancellationToken ct)
    {
        // What proved right before, though not lately, is hashed again; but what others try meanwhile does not keep it out, nor for a
        // while does that there is too much to hash.
        var known = candidates.Find(candidate => remembered.Knew(candidate, remembered.MacOf(candidate, presented.Secret)));
        var proof = await JoinProof(presented, candidates, namesRow, source, isLimited: known is null).WaitAsync(ct);
        return known is not null && proof.Refused(out _, out _) && remembered.KnewLately(known, remembered.MacOf(known, presented.Secret))
            ? known
            : proof;
    }

    private Task<Result<ClientSecret?>> JoinProof(
        ClientCredentials presented, List<ClientSecret> candidates, bool namesRow, IPAddress? source, bool isLimited)
    {
        var key = (presented.ClientId, candidates.Aggregate(default(SecretMac), (all, row) => all ^ remembered.MacOf(row, presented.Secret)));
        if (proofs.TryGetValue(key, out var begun))
            return begun.Value;

        // A secret of ours that names a live row is judged by the attempts on that row alone, and hashed first, so that no flood of other
        // guesses stands in its way, from the same address neither. (No client_id has a space.)
        var attempt = namesRow ? new Attempt($"{presented.ClientId} {candidates[0].Id}", Source: null) : new Attempt(presented.ClientId, source);
        if (isLimited && failures.Begin(attempt) is { } refusal)
            return Task.FromResult<Result<ClientSecret?>>(refusal);

        Lazy<Task<Result<ClientSecret?>>> own = new(async () =>
        {
            try
            {
                var proof = await HashAsync(presented.Secret, candidates, namesRow);
                if (isLimited && (proof.Refused(out _, out var proved) || proved is not null))
                    failures.Forgive(attempt);
                return proof;
            }
            finally
            {
                proofs.TryRemove(key, out _);
            }
        });
        var joined = proofs.GetOrAdd(key, own);
        if (isLimited && joined != own)
            failures.Forgive(attempt);
        return joined.Value;
    }

    // Goes on when the caller goes away, so that nobody escapes being counted.
    private async Task<Result<ClientSecret?>> HashAsync(string presented, List<ClientSecret> candidates, bool namesRow)
    {
        foreach (var candidate in candidates)
        {
            if ((await hashing.MatchesAsync(presented, candidate.Digest, namesRow)).Refused(out var error, out var matches))
                return error;
            if (!matches)
                continue;
            remembered.Remember(candidate, remembered.MacOf(candidate, presented));
            return candidate;
        }

        return (ClientSecret?)null;
    }

    /// <summary>A client as it is now, for the secret that is presented.</summary>
    /// <param name="Client">Null: there is none.</param>
    /// <param name="Obstacle">Why no secret will do; null: one may.</param>
    /// <param name="Candidates">The live secrets that the presented one can be.</param>
    /// <param name="LacksRow">True when the presented secret names a row that the client does not have.</param>
    private sealed record Seen(Client? Client, string? Obstacle, List<ClientSecret> Candidates, bool LacksRow);
}
