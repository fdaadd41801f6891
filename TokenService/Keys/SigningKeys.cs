using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.Tokens;
using Npgsql;
using TokenService.Postgres;
using TokenService.Protocol;

namespace TokenService.Keys;

/// <summary>A key that signs now, opened.</summary>
internal sealed record Signer(string Kid, SigningCredentials Credentials);

/// <summary>The public keys, as the JWKS has them.</summary>
/// <param name="Json">A JWK Set (RFC 7517 §5).</param>
/// <param name="MaxAge">How long a verifier may keep it.</param>
internal sealed record JwkSet(byte[] Json, TimeSpan MaxAge);

/// <summary>The keys this replica knows: what signs, what is published. Everything is swapped at once, so readers take no lock.</summary>
internal sealed class SigningKeys(SigningKeyStore store, SealingKeys sealingKeys, IOptions<KeyOptions> options, TimeProvider clock)
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(5);

    private volatile Known known = new(new KeyRing([]), [], new JwkSet([], TimeSpan.Zero));

    public KeyRing Ring => known.Ring;

    /// <summary>Prebuilt; the same object until something changes.</summary>
    public JwkSet JwkSet => known.JwkSet;

    /// <summary>The key to sign a token with.</summary>
    /// <param name="algorithm">What the token's resource asks for; null for the default.</param>
    /// <param name="lifetime">How long the token will live: the key will be published for at least as long.</param>
    /// <param name="ct">Ends the wait for the database, which only the first token of a new longest lifetime has.</param>
    /// <returns>Refused with 503 when there is none that this replica can open.</returns>
    public async ValueTask<Result<Signer>> SignerAsync(string? algorithm, TimeSpan lifetime, CancellationToken ct)
    {
        var now = known;
        if (now.Ring.SigningAt(clock.GetUtcNow(), algorithm ?? options.Value.Algorithm) is not { } key)
            return OAuthError.TemporarilyUnavailable("there is no signing key", RetryAfter);
        if (!now.Opened.TryGetValue(key.Kid, out var credentials))
            return OAuthError.TemporarilyUnavailable($"the signing key {key.Kid} cannot be opened", RetryAfter);

        if (lifetime > key.LongestToken)
        {
            await store.RaiseLongestTokenAsync(key.Kid, lifetime, ct);
            await LoadAsync(ct);
        }

        return new Signer(key.Kid, credentials);
    }

    /// <summary>
    /// Takes in what the database has now. A key is published only if its private half opens here and is the other half of what
    /// its row shows: whoever can write the table, but has no sealing key, cannot put a key of his own before the verifiers.
    /// </summary>
    /// <exception cref="StartRefusedException">A key cannot be opened. All others were taken in.</exception>
    /// <exception cref="NpgsqlException">The database is away. What was known stays.</exception>
    public async Task LoadAsync(CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        var ring = await store.LoadAsync(now, ct);
        var published = ring.PublishedAt(now).ToDictionary(key => key.Kid, StringComparer.Ordinal);
        var opened = known.Opened.Where(entry => published.ContainsKey(entry.Key)).ToDictionary(StringComparer.Ordinal);
        StartRefusedException? failure = null;
        if (opened.Count < published.Count)
        {
            foreach (var key in await store.LoadSealedAsync(ct))
            {
                if (published.TryGetValue(key.Kid, out var row) && !opened.ContainsKey(key.Kid))
                    failure = TryOpen(key, row, opened) ?? failure;
            }
        }

        known = new Known(ring, opened, Publish(ring, now, opened));
        if (failure is not null)
            throw failure;
    }

    private StartRefusedException? TryOpen(SealedKey key, SigningKey row, Dictionary<string, SigningCredentials> opened)
    {
        try
        {
            var privateKey = sealingKeys.Unseal(key);
            var algorithm = SigningAlgorithm.Of(row.Algorithm);
            var pair = algorithm.ReadPair(privateKey);
            CryptographicOperations.ZeroMemory(privateKey);
            if (!JsonElement.DeepEquals(algorithm.PublicJwk(pair), row.PublicJwk))
                throw new CryptographicException("The public JWK is another key's.");

            opened[key.Kid] = algorithm.Credentials(pair, key.Kid);
            return null;
        }
        catch (StartRefusedException e)
        {
            return e;
        }
        catch (CryptographicException e)
        {
            return new StartRefusedException(
                $"The signing key {key.Kid} is not the one its row shows: kid, alg or public_jwk was changed. Withdraw it.", e);
        }
    }

    private JwkSet Publish(KeyRing ring, DateTimeOffset now, Dictionary<string, SigningCredentials> opened)
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

    private sealed record Known(KeyRing Ring, Dictionary<string, SigningCredentials> Opened, JwkSet JwkSet);
}
