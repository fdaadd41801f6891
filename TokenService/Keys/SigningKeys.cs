using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Configuration;
using TokenService.Jose;
using TokenService.Protocol;

namespace TokenService.Keys;

/// <param name="Json">The published keys as a JWK Set (RFC 7517 §5).</param>
/// <param name="MaxAge">How long a verifier may keep it.</param>
internal sealed record JwkSet(byte[] Json, TimeSpan MaxAge);

/// <summary>
/// The signing keys in memory: the ring, the opened private halves and the JWKS. A load replaces all of them at once,
/// so readers take no lock.
/// </summary>
internal sealed class SigningKeys(SigningKeyStore store, SealingKeys sealingKeys, IOptions<KeyOptions> options, TimeProvider clock)
    : IDisposable
{
    /// <summary>
    /// How long gone keys are still loaded: their JwksMaxAge matters while a verifier may keep a JWKS of that time.
    /// </summary>
    public static readonly TimeSpan GoneKeyRetention = TimeSpan.FromDays(1);

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(5);

    // One load at a time, so that the result of an older query does not replace that of a newer one.
    private readonly SemaphoreSlim loading = new(1);

    private volatile Known known = new(DateTimeOffset.MinValue, new KeyRing([]), [], [], new JwkSet([], TimeSpan.Zero), []);

    public KeyRing Ring => known.Ring;

    /// <summary>Decides which keys are due, by the settings and by what resources asked for at the last load.</summary>
    public KeyPlan Plan => new(
        options.Value.Algorithm, known.OfResources, options.Value.SigningPeriod, options.Value.JwksMaxAge);

    /// <summary>The JWKS; the same object until its content changes.</summary>
    public JwkSet JwkSet => known.JwkSet;

    /// <summary>
    /// The algorithms that verifiers may meet: those of the published keys, and those in use whose first key is about
    /// to be made. The same object until the set changes.
    /// </summary>
    public IReadOnlyList<string> Algorithms => known.Algorithms;

    /// <summary>The key to sign a token with.</summary>
    /// <param name="algorithm">
    /// The algorithm that the token's resource asks for; no key of another one signs. Null: the default.
    /// </param>
    /// <param name="lifetime">The lifetime of the token. The key stays published for at least as long.</param>
    /// <param name="ct">
    /// Ends the wait for the database. Only a token with a new longest lifetime waits, or one after 10 minutes without
    /// a load.
    /// </param>
    /// <returns>
    /// Refused with 503 when there is no signing key that this replica can open, and while no key of the algorithm may
    /// sign yet.
    /// </returns>
    /// <exception cref="NpgsqlException">A query is necessary, and the database is unavailable.</exception>
    public async ValueTask<Result<Signer>> SignerAsync(string? algorithm, TimeSpan lifetime, CancellationToken ct)
    {
        await LoadIfStaleAsync(ct);
        if (Signing(known.Ring, algorithm) is { } key && lifetime > key.MaxTokenLifetime)
        {
            await store.RaiseMaxTokenLifetimeAsync(key.Kid, lifetime, ct);
            await LoadAsync(ct);
        }

        var now = known;
        if (Signing(now.Ring, algorithm) is not { } signing)
        {
            return algorithm is null
                ? OAuthError.TemporarilyUnavailable(Reason.SigningKeyUnavailable, RetryAfter, "there is no signing key")
                : NotReady(now.Ring, algorithm);
        }

        // The next key began to sign while the longer lifetime was recorded for the one before it.
        if (lifetime > signing.MaxTokenLifetime)
        {
            return OAuthError.TemporarilyUnavailable(
                Reason.SigningKeyUnavailable, RetryAfter, $"the signing key changed to {signing.Kid}");
        }

        return now.Opened.TryGetValue(signing.Kid, out var opened)
            ? opened
            : OAuthError.TemporarilyUnavailable(
                Reason.SigningKeyUnavailable, RetryAfter, $"the signing key {signing.Kid} cannot be opened");
    }

    /// <summary>The published key with this kid; null: there is none, or this replica cannot open it.</summary>
    /// <exception cref="NpgsqlException">A query is necessary, and the database is unavailable.</exception>
    public async ValueTask<PublicKey?> FindAsync(string kid, CancellationToken ct)
    {
        await LoadIfStaleAsync(ct);
        var (now, at) = (known, clock.GetUtcNow());
        return now.Ring.PublishedAt(at).Any(key => key.Kid == kid) && now.Opened.TryGetValue(kid, out var opened)
            ? opened.PublicKey
            : null;
    }

    /// <summary>
    /// Loads the keys from the database. A key is published only if its private half opens here and belongs to the
    /// public key in the row. An attacker who can write the table, but has no sealing key, can therefore not publish a
    /// key.
    /// </summary>
    /// <returns>Why a key cannot be opened; null: every key can. The other keys are loaded in both cases.</returns>
    /// <exception cref="NpgsqlException">The database is unavailable. The keys stay as they were.</exception>
    public async Task<string?> LoadAsync(CancellationToken ct)
    {
        await loading.WaitAsync(ct);
        try
        {
            var now = clock.GetUtcNow();
            var ring = await store.LoadAsync(now - GoneKeyRetention, ct);
            // Read after the keys: otherwise the first key of an algorithm that has just come into use could look like
            // one that nobody wants any more.
            var ofResources = await store.WantedByResourcesAsync(ct);
            var published = ring.PublishedAt(now).ToDictionary(key => key.Kid, StringComparer.Ordinal);
            var before = known.Ring.Keys.ToDictionary(key => key.Kid, StringComparer.Ordinal);
            var opened = known.Opened
                .Where(entry => published.TryGetValue(entry.Key, out var row)
                    && row.EndsBy == before[entry.Key].EndsBy
                    && Matches(row, entry.Value.PublicKey))
                .ToDictionary(StringComparer.Ordinal);
            var problem = opened.Count == published.Count ? null : Open(await store.LoadSealedAsync(ct), published, opened);
            known = new Known(now, ring, ofResources, opened, Publish(ring, now, opened), AlgorithmsOf(ofResources, opened));
            return problem;
        }
        finally
        {
            loading.Release();
        }
    }

    public void Dispose() => loading.Dispose();

    // KeyPlan's dates are safe only if every replica knows a change after LearningTime at the latest.
    private async ValueTask LoadIfStaleAsync(CancellationToken ct)
    {
        if (clock.GetUtcNow() - known.At > KeyPlan.LearningTime)
            await LoadAsync(ct);
    }

    private string? Open(
        IEnumerable<SealedKey> sealedKeys, Dictionary<string, SigningKey> published, Dictionary<string, Signer> opened)
    {
        string? problem = null;
        var sealedByKid = sealedKeys.ToDictionary(key => key.Kid, StringComparer.Ordinal);
        foreach (var row in published.Values.Where(row => !opened.ContainsKey(row.Kid)))
        {
            try
            {
                if (sealedByKid.TryGetValue(row.Kid, out var key))
                    opened[row.Kid] = Open(key, row);
                else
                    problem ??= $"The signing key {row.Kid} is published, but its private half was destroyed. Withdraw the key.";
            }
            catch (OperatorException e)
            {
                problem ??= e.Message;
            }
            catch (CryptographicException)
            {
                problem ??= $"The signing key {row.Kid} does not match its row: the row was changed. Withdraw the key.";
            }
        }

        return problem;
    }

    private Signer Open(SealedKey key, SigningKey row)
    {
        var privateKey = sealingKeys.Unseal(key);
        try
        {
            var algorithm = SignatureAlgorithm.Of(row.Algorithm);
            var pair = algorithm.ReadPair(privateKey);
            var signer = new Signer(algorithm, pair);
            return Matches(row, signer.PublicKey)
                ? signer
                : throw new CryptographicException("The private half does not belong to the public key in the row.");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(privateKey);
        }
    }

    private SigningKey? Signing(KeyRing ring, string? algorithm) => algorithm is null
        ? ring.SigningByDefault(clock.GetUtcNow(), options.Value.Algorithm)
        : ring.SigningOf(algorithm, clock.GetUtcNow());

    // A verifier may still keep a JWKS without the algorithm's first key.
    private OAuthError NotReady(KeyRing ring, string algorithm)
    {
        var now = clock.GetUtcNow();
        var (from, detail) = ring.SignsFrom(algorithm, now) is { } planned
            ? (planned, $"the first {algorithm} key signs from {planned:u}")
            : (now + Plan.PublicationTime(ring), $"there is no {algorithm} key yet; a running server makes it within seconds");
        // The key may have begun since the caller looked.
        var wait = from > now ? from - now : TimeSpan.FromSeconds(1);
        return OAuthError.TemporarilyUnavailable(Reason.SigningAlgorithmNotReady, wait, detail);
    }

    // In the order in which this server lists its algorithms everywhere, so that all replicas publish the same.
    private IReadOnlyList<string> AlgorithmsOf(IReadOnlyList<string> ofResources, Dictionary<string, Signer> opened)
    {
        var used = opened.Values.Select(signer => signer.PublicKey.Algorithm)
            .Concat(ofResources).Append(options.Value.Algorithm).ToHashSet(StringComparer.Ordinal);
        var algorithms = SignatureAlgorithm.Names.Where(used.Contains).ToList();
        return algorithms.SequenceEqual(known.Algorithms) ? known.Algorithms : algorithms;
    }

    private JwkSet Publish(KeyRing ring, DateTimeOffset now, Dictionary<string, Signer> opened)
    {
        using var utf8 = new MemoryStream();
        using (var json = new Utf8JsonWriter(utf8))
        {
            json.WriteStartObject();
            json.WriteStartArray("keys");
            foreach (var key in ring.PublishedAt(now).Where(key => opened.ContainsKey(key.Kid)))
                key.PublicJwk.WriteTo(json);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        var set = new JwkSet(utf8.ToArray(), ring.JwksMaxAge(options.Value.JwksMaxAge));
        var current = known.JwkSet;
        return set.MaxAge == current.MaxAge && set.Json.AsSpan().SequenceEqual(current.Json) ? current : set;
    }

    // False: the row's public columns do not follow from its private half, so the row was changed.
    private static bool Matches(SigningKey row, PublicKey key) =>
        key.Algorithm == row.Algorithm && key.Kid == row.Kid && JsonElement.DeepEquals(key.Jwk, row.PublicJwk);

    private sealed record Known(
        DateTimeOffset At,
        KeyRing Ring,
        IReadOnlyList<string> OfResources,
        Dictionary<string, Signer> Opened,
        JwkSet JwkSet,
        IReadOnlyList<string> Algorithms);
}
