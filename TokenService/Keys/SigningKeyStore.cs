using System.Security.Cryptography;
using System.Text.Json;
using Dapper;
using Microsoft.IdentityModel.Tokens;
using Npgsql;

namespace TokenService.Keys;

/// <summary>Signing keys as the database has them, private halves sealed.</summary>
internal sealed class SigningKeyStore(NpgsqlDataSource postgres, SealingKeys sealingKeys)
{
    // An arbitrary number, the same in every build: whoever makes a signing key locks it.
    private const long LockId = 0x6B6579735F5F7376; // "keys__sv"

    // The first key is dated back by this, so that a replica whose clock is behind may sign with it too.
    private static readonly TimeSpan ClockSkew = TimeSpan.FromMinutes(1);

    private const string Load = """
        select kid as "Kid",
               alg as "Alg",
               public_jwk::text as "PublicJwk",
               sealed_private_key as "SealedPrivateKey",
               sealing_key_id as "SealingKeyId",
               published_at as "PublishedAt",
               signs_from as "SignsFrom",
               signs_until as "SignsUntil",
               gone_after as "GoneAfter"
        from token_service.signing_key
        where gone_after is null
           or gone_after > @now
        """;

    private const string Insert = """
        insert into token_service.signing_key
            (kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, signs_from)
        values
            (@kid, @alg, @publicJwk::jsonb, @sealedPrivateKey, @sealingKeyId, @from, @from)
        """;

    /// <summary>
    /// All keys not gone. Where none may sign, as at the very first start, one is made that signs at once: nobody can hold a JWKS
    /// without it yet. One replica does so, the others wait for the lock and find it.
    /// </summary>
    public async Task<KeyRing> LoadOrCreateAsync(DateTimeOffset now, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await connection.ExecuteAsync(new("select pg_advisory_xact_lock(@LockId)", new { LockId }, transaction, cancellationToken: ct));

        var ring = await LoadAsync(connection, now, ct);
        if (ring.SigningAt(now) is null)
        {
            await CreateAsync(connection, now, ct);
            ring = await LoadAsync(connection, now, ct);
        }

        await transaction.CommitAsync(ct);
        return ring;
    }

    private async Task<KeyRing> LoadAsync(NpgsqlConnection connection, DateTimeOffset now, CancellationToken ct)
    {
        var rows = await connection.QueryAsync<Row>(new(Load, new { now = now.UtcDateTime }, cancellationToken: ct));
        return new KeyRing(rows.Select(Open));
    }

    private async Task CreateAsync(NpgsqlConnection connection, DateTimeOffset now, CancellationToken ct)
    {
        using var pair = EcKeyPair.Create();
        var publicJwk = EcKeyPair.PublicJwk(pair);
        var kid = publicJwk.GetProperty("kid").GetString()!;
        var privateKey = pair.ExportPkcs8PrivateKey();
        try
        {
            await connection.ExecuteAsync(new(Insert, new
            {
                kid,
                alg = EcKeyPair.Algorithm,
                publicJwk = publicJwk.GetRawText(),
                sealedPrivateKey = sealingKeys.Current.Seal(privateKey, kid),
                sealingKeyId = sealingKeys.Current.Id,
                from = (now - ClockSkew).UtcDateTime,
            }, cancellationToken: ct));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(privateKey);
        }
    }

    private SigningKey Open(Row row)
    {
        var privateKey = sealingKeys.Find(row.SealingKeyId, row.Kid).Unseal(row.SealedPrivateKey, row.Kid);
        try
        {
            var key = new ECDsaSecurityKey(EcKeyPair.Read(privateKey)) { KeyId = row.Kid };
            return new SigningKey
            {
                Kid = row.Kid,
                Algorithm = row.Alg,
                PublicJwk = JsonElement.Parse(row.PublicJwk),
                Credentials = new SigningCredentials(key, row.Alg),
                PublishedAt = row.PublishedAt,
                SignsFrom = row.SignsFrom,
                SignsUntil = row.SignsUntil,
                GoneAfter = row.GoneAfter,
            };
        }
        finally
        {
            CryptographicOperations.ZeroMemory(privateKey);
        }
    }

    private sealed record Row(
        string Kid,
        string Alg,
        string PublicJwk,
        byte[] SealedPrivateKey,
        string SealingKeyId,
        DateTime PublishedAt,
        DateTime SignsFrom,
        DateTime? SignsUntil,
        DateTime? GoneAfter);
}
