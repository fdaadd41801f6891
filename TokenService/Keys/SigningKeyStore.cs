using System.Security.Cryptography;
using System.Text.Json;
using Dapper;
using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Jose;
using TokenService.Postgres;

namespace TokenService.Keys;

/// <summary>
/// Reads and writes signing keys, with their private halves sealed. It decides nothing; <see cref="KeyPlan"/> does.
/// </summary>
internal sealed class SigningKeyStore(NpgsqlDataSource postgres, SealingKeys sealingKeys, IOptions<KeyOptions> options)
{
    // More rounds than any correct plan needs. It stops a plan that a bug keeps from ending.
    private const int MaxRounds = 100;

    // Only the service's role may call the function, so no other user of the database can hold the keys' lock. The wait
    // is short, because this replica must go on learning of withdrawals. It also covers rows that an admin's
    // transaction holds.
    private const string LockKeys = """
        set local lock_timeout = '1s';
        select token_service.lock_signing_keys();
        """;

    private const string Load = """
        select kid as "Kid",
               alg as "Algorithm",
               public_jwk::text as "PublicJwk",
               published_at as "PublishedAt",
               known_from as "KnownFrom",
               signs_from as "SignsFrom",
               signs_until as "SignsUntil",
               gone_after as "GoneAfter",
               ends_by as "EndsBy",
               withdrawn_at as "WithdrawnAt",
               jwks_max_age_seconds as "JwksMaxAgeSeconds",
               max_token_lifetime_seconds as "MaxTokenLifetimeSeconds",
               case when sealed_private_key is not null then sealing_key_id end as "SealedBy"
        from token_service.signing_key
        where (gone_after is null or gone_after > @goneSince or sealed_private_key is not null)
          -- Constraints refuse such a row. If one of them is missing, the row must not keep the others from being read.
          and token_service.is_representable(least(published_at, known_from, signs_from, signs_until, gone_after, ends_by, withdrawn_at))
          and token_service.is_representable(greatest(published_at, known_from, signs_from, signs_until, gone_after, ends_by, withdrawn_at))
          and token_service.is_shallow(public_jwk)
        """;

    private const string LoadSealed = """
        select kid as "Kid",
               alg as "Algorithm",
               sealed_private_key as "Envelope",
               sealing_key_id as "SealingKeyId",
               ends_by as "EndsBy"
        from token_service.signing_key
        where sealed_private_key is not null
        """;

    private const string WantedByResources = """
        select distinct signing_alg
        from token_service.resource
        where signing_alg is not null
        """;

    private const string Insert = """
        insert into token_service.signing_key (
            kid, alg, public_jwk, sealed_private_key, sealing_key_id,
            published_at, known_from, signs_from, ends_by, jwks_max_age_seconds, max_token_lifetime_seconds)
        values (
            @kid, @Algorithm, @publicJwk::jsonb, @envelope, @sealingKeyId,
            @publishedAt, @knownFrom, @signsFrom, @endsBy, @jwksMaxAgeSeconds, @maxTokenLifetimeSeconds)
        """;

    private const string Begin = """
        update token_service.signing_key
        set signs_from = @from
        where kid = @kid
        """;

    // A key that would begin to sign later never signs.
    private const string End = """
        update token_service.signing_key
        set signs_until = @until,
            signs_from = least(signs_from, @until)
        where kid = @kid
        """;

    private const string Raise = """
        update token_service.signing_key
        set max_token_lifetime_seconds = @seconds
        where kid = @kid
          and max_token_lifetime_seconds < @seconds
        """;

    // A destroyed key cannot be restored, so the database's clock must agree that the key is gone.
    private const string Erase = """
        update token_service.signing_key
        set sealed_private_key = null
        where kid = any (@kids)
          and gone_after < now()
        """;

    private const string Reseal = """
        update token_service.signing_key
        set sealed_private_key = @envelope,
            sealing_key_id = @sealingKeyId
        where kid = @kid
          and sealed_private_key is not null
        """;

    /// <summary>All keys, except those that were gone at an instant and whose private halves are destroyed.</summary>
    public async Task<KeyRing> LoadAsync(DateTimeOffset goneSince, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await LoadAsync(connection, goneSince, ct);
    }

    /// <summary>All sealed private halves that are not destroyed.</summary>
    public async Task<IReadOnlyList<SealedKey>> LoadSealedAsync(CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await LoadSealedAsync(connection, ct);
    }

    /// <summary>The algorithms that resources ask for.</summary>
    public async Task<IReadOnlyList<string>> WantedByResourcesAsync(CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var command = new NpgsqlCommand(WantedByResources, connection);
        await using var found = await command.ExecuteReaderAsync(ct);
        return await found.ReadRowsAsync(row => row.GetString(0), ct);
    }

    /// <summary>
    /// Takes the steps that are due, under a lock that only one replica holds at a time. The steps are computed again
    /// under the lock, so a replica that waited for the lock finds them taken.
    /// </summary>
    /// <returns>False: another replica has the lock, or an admin a row, for longer than a second. Nothing is changed.</returns>
    /// <param name="goneSince">Keys that were gone at this instant are not loaded.</param>
    /// <param name="due">Returns the next steps for a ring; empty: nothing is due.</param>
    /// <param name="ct">Ends the wait for the lock.</param>
    public async Task<bool> TryTakeStepsAsync(
        DateTimeOffset goneSince, Func<KeyRing, IReadOnlyList<KeyStep>> due, CancellationToken ct)
    {
        try
        {
            await using var connection = await postgres.OpenConnectionAsync(ct);
            await using var transaction = await connection.BeginTransactionAsync(ct);
            await connection.RunAsync(LockKeys, ct);
            for (var round = 0; round < MaxRounds; round++)
            {
                var steps = due(await LoadAsync(connection, goneSince, ct));
                if (steps.Count == 0)
                    break;
                foreach (var step in steps)
                    await TakeAsync(connection, step, ct);
            }

            await transaction.CommitAsync(ct);
            return true;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.LockNotAvailable)
        {
            return false;
        }
    }

    /// <summary>
    /// Records a longer maximum lifetime of a key's tokens. Call it before signing a token that lives longer.
    /// </summary>
    public async Task RaiseMaxTokenLifetimeAsync(string kid, TimeSpan lifetime, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await connection.ExecuteAsync(
            Raise, new { kid, seconds = (int)lifetime.TotalSeconds, ct }, commandTimeout: connection.CommandTimeout);
    }

    /// <summary>Destroys the private halves of keys that are gone.</summary>
    public async Task EraseAsync(IEnumerable<string> kids, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await connection.ExecuteAsync(
            Erase, new { kids = kids.ToArray(), ct }, commandTimeout: connection.CommandTimeout);
    }

    /// <summary>Seals every private half with the current sealing key.</summary>
    /// <returns>The kids of the keys that were sealed with another sealing key before.</returns>
    public async Task<IReadOnlyList<string>> ResealAsync(CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await connection.RunAsync(LockKeys, ct);

        var others = (await LoadSealedAsync(connection, ct))
            .Where(key => key.SealingKeyId != sealingKeys.Current.Id)
            .ToList();
        foreach (var key in others)
        {
            var privateKey = sealingKeys.Unseal(key);
            try
            {
                await connection.ExecuteAsync(Reseal, new
                {
                    kid = key.Kid,
                    envelope = sealingKeys.Current.Seal(privateKey, key.Binding),
                    sealingKeyId = sealingKeys.Current.Id,
                    ct,
                }, commandTimeout: connection.CommandTimeout);
            }
            finally
            {
                CryptographicOperations.ZeroMemory(privateKey);
            }
        }

        await transaction.CommitAsync(ct);
        return [.. others.Select(key => key.Kid)];
    }

    private static async Task<KeyRing> LoadAsync(NpgsqlConnection connection, DateTimeOffset goneSince, CancellationToken ct)
    {
        var rows = await connection.QueryAsync<Row>(
            Load, new { goneSince = goneSince.UtcDateTime, ct }, commandTimeout: connection.CommandTimeout);
        return new KeyRing(rows.Select(ToKey));
    }

    private static async Task<List<SealedKey>> LoadSealedAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(LoadSealed, connection);
        await using var found = await command.ExecuteReaderAsync(ct);
        return await found.ReadRowsAsync(found.GetRowParser<SealedKey>(), ct);
    }

    private Task TakeAsync(NpgsqlConnection connection, KeyStep step, CancellationToken ct) => step switch
    {
        KeyStep.Make make => MakeAsync(connection, make, ct),
        KeyStep.Begin begin => connection.ExecuteAsync(
            Begin, new { kid = begin.Kid, from = begin.From.UtcDateTime, ct }, commandTimeout: connection.CommandTimeout),
        KeyStep.End end => connection.ExecuteAsync(
            End, new { kid = end.Kid, until = end.Until.UtcDateTime, ct }, commandTimeout: connection.CommandTimeout),
        _ => throw new InvalidOperationException($"KeyStep {step.GetType().Name} has no case here."),
    };

    private async Task MakeAsync(NpgsqlConnection connection, KeyStep.Make make, CancellationToken ct)
    {
        var algorithm = SignatureAlgorithm.Of(make.Algorithm);
        using var pair = algorithm.CreatePair(options.Value.RsaKeySize);
        var publicKey = new PublicKey(algorithm, pair);
        var kid = publicKey.Kid;
        var privateKey = pair.ExportPkcs8PrivateKey();
        try
        {
            await connection.ExecuteAsync(Insert, new
            {
                kid,
                make.Algorithm,
                publicJwk = publicKey.Jwk.GetRawText(),
                envelope = sealingKeys.Current.Seal(privateKey, new SealBinding(kid, make.Algorithm, make.EndsBy)),
                sealingKeyId = sealingKeys.Current.Id,
                publishedAt = make.PublishedAt.UtcDateTime,
                knownFrom = make.KnownFrom.UtcDateTime,
                signsFrom = make.SignsFrom.UtcDateTime,
                endsBy = make.EndsBy.UtcDateTime,
                jwksMaxAgeSeconds = (int)make.JwksMaxAge.TotalSeconds,
                maxTokenLifetimeSeconds = (int)make.MaxTokenLifetime.TotalSeconds,
                ct,
            }, commandTimeout: connection.CommandTimeout);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(privateKey);
        }
    }

    private static SigningKey ToKey(Row row) => new()
    {
        Kid = row.Kid,
        Algorithm = row.Algorithm,
        PublicJwk = JsonElement.Parse(row.PublicJwk),
        PublishedAt = row.PublishedAt,
        KnownFrom = row.KnownFrom,
        SignsFrom = row.SignsFrom,
        SignsUntil = row.SignsUntil,
        GoneAfter = row.GoneAfter,
        EndsBy = row.EndsBy,
        WithdrawnAt = row.WithdrawnAt,
        JwksMaxAge = TimeSpan.FromSeconds(row.JwksMaxAgeSeconds),
        MaxTokenLifetime = TimeSpan.FromSeconds(row.MaxTokenLifetimeSeconds),
        SealedBy = row.SealedBy,
    };

    internal sealed record Row(
        string Kid,
        string Algorithm,
        string PublicJwk,
        DateTime PublishedAt,
        DateTime KnownFrom,
        DateTime SignsFrom,
        DateTime? SignsUntil,
        DateTime? GoneAfter,
        DateTime? EndsBy,
        DateTime? WithdrawnAt,
        int JwksMaxAgeSeconds,
        int MaxTokenLifetimeSeconds,
        string? SealedBy);
}
