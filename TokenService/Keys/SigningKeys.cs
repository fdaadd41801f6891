using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Configuration;
using TokenService.Jose;
using TokenService.Protocol;

namespace TokenService.Keys;

/// <summary>The public keys, as the JWKS has them.</summary>
/// <param name="Json">A JWK Set (RFC 7517 §5).</param>
/// <param name="MaxAge">How long a verifier may keep it.</param>
internal sealed record JwkSet(byte[] Json, TimeSpan MaxAge);

/// <summary>The keys this replica knows: what signs, what is published. Everything is swapped at once, so readers take no lock.</summary>
internal sealed class SigningKeys(SigningKeyStore store, SealingKeys sealingKeys, IOptions<KeyOptions> options, TimeProvider clock)
    : IDisposable
{
    /// <summary>For how long a key that is gone still matters: no JWKS is kept for longer.</summary>
    public static readonly TimeSpan Remembered = TimeSpan.FromDays(1);

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(5);

    // One at a time, so that what was read first does not replace what was read later.
    private readonly SemaphoreSlim loading = new(1);

    private volatile Known known = new(DateTimeOffset.MinValue, new KeyRing([]), [], new JwkSet([], TimeSpan.Zero));

    public KeyRing Ring => known.Ring;

    /// <summary>Prebuilt; the same object until something changes.</summary>
    public JwkSet JwkSet => known.JwkSet;

    /// <summary>The key to sign a token with.</summary>
    /// <param name="algorithm">What the token's resource asks for; null for the default.</param>
    /// <param name="lifetime">How long the token will live: the key will be published for at least as long.</param>
    /// <param name="ct">
    /// Ends the wait for the database, which only the first token of a new longest lifetime has, and one after a time without news.
    /// </param>
    /// <returns>Refused with 503 when there is none that this replica can open.</returns>
    /// <exception cref="NpgsqlException">The database would have to be asked, and is away.</exception>
    public async ValueTask<Result<Signer>> SignerAsync(string? algorithm, TimeSpan lifetime, CancellationToken ct)
    {
        await LearnAsync(ct);
        if (Signing(known.Ring, algorithm) is { } key && lifetime > key.MaxTokenLifetime)
        {
            await store.RaiseMaxTokenLifetimeAsync(key.Kid, lifetime, ct);
            await LoadAsync(ct);
        }

        var now = known;
        if (Signing(now.Ring, algorithm) is not { } signing)
            return OAuthError.TemporarilyUnavailable(Reason.SigningKeyUnavailable, RetryAfter, "there is no signing key");
        if (lifetime > signing.MaxTokenLifetime)
            return OAuthError.TemporarilyUnavailable(Reason.SigningKeyUnavailable, RetryAfter, $"the signing key changed to {signing.Kid}");
        return now.Opened.TryGetValue(signing.Kid, out var opened)
            ? opened
            : OAuthError.TemporarilyUnavailable(
                Reason.SigningKeyUnavailable, RetryAfter, $"the signing key {signing.Kid} cannot be opened");
    }

    /// <summary>The key of that kid, while it is published; null: there is none, or it was withdrawn.</summary>
    /// <exception cref="NpgsqlException">The database would have to be asked, and is away.</exception>
    public async ValueTask<PublicKey?> FindAsync(string kid, CancellationToken ct)
    {
        await LearnAsync(ct);
        var (now, at) = (known, clock.GetUtcNow());
        return now.Ring.PublishedAt(at).Any(key => key.Kid == kid) && now.Opened.TryGetValue(kid, out var opened)
            ? opened.PublicKey
            : null;
    }

    /// <summary>
    /// Takes in what the database has now. A key is published only if its private half opens here and is the other half of what
    /// its row shows: whoever can write the table, but has no sealing key, cannot put a key of his own before the verifiers.
    /// </summary>
    /// <returns>Why a key cannot be opened; null: all can. Those that can are taken in either way.</returns>
    /// <exception cref="NpgsqlException">The database is away. What was known stays.</exception>
    public async Task<string?> LoadAsync(CancellationToken ct)
    {
        await loading.WaitAsync(ct);
        try
        {
            var now = clock.GetUtcNow();
            var ring = await store.LoadAsync(now - Remembered, ct);
            var published = ring.PublishedAt(now).ToDictionary(key => key.Kid, StringComparer.Ordinal);
            var opened = known.Opened
                .Where(entry => published.TryGetValue(entry.Key, out var row) && IsShownBy(row, entry.Value.PublicKey))
                .ToDictionary(StringComparer.Ordinal);
            var problem = opened.Count == published.Count ? null : Open(await store.LoadSealedAsync(ct), published, opened);
            known = new Known(now, ring, opened, Publish(ring, now, opened));
            return problem;
        }
        finally
        {
            loading.Release();
        }
    }

    public void Dispose() => loading.Dispose();

    // The plan counts on a replica to know what others did no later than this.
    private async ValueTask LearnAsync(CancellationToken ct)
    {
        if (clock.GetUtcNow() - known.At > KeyPlan.LearningTime)
            await LoadAsync(ct);
    }

    private string? Open(
        IEnumerable<SealedKey> all, Dictionary<string, SigningKey> published, Dictionary<string, Signer> opened)
    {
        string? problem = null;
        var closed = all.ToDictionary(key => key.Kid, StringComparer.Ordinal);
        foreach (var row in published.Values.Where(row => !opened.ContainsKey(row.Kid)))
        {
            try
            {
                if (closed.TryGetValue(row.Kid, out var key))
                    opened[row.Kid] = Open(key, row);
                else
                    problem ??= $"The signing key {row.Kid} is published, and its private half is gone. Withdraw the key.";
            }
            catch (OperatorException e)
            {
                problem ??= e.Message;
            }
            catch (CryptographicException)
            {
                problem ??= $"The signing key {row.Kid} is not the one its row shows: the row was changed. Withdraw the key.";
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
            return IsShownBy(row, signer.PublicKey) ? signer : throw new CryptographicException("The row shows another key.");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(privateKey);
        }
    }

    private SigningKey? Signing(KeyRing ring, string? algorithm) =>
        ring.SigningAt(clock.GetUtcNow(), algorithm ?? options.Value.Algorithm, options.Value.Algorithm);

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

    // False when the row says something else than what follows from its private half, so was changed since.
    private static bool IsShownBy(SigningKey row, PublicKey key) =>
        key.Algorithm == row.Algorithm && key.Kid == row.Kid && JsonElement.DeepEquals(key.Jwk, row.PublicJwk);

    private sealed record Known(DateTimeOffset At, KeyRing Ring, Dictionary<string, Signer> Opened, JwkSet JwkSet);
}
