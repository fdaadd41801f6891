using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Secrets;

namespace TokenService.Bench;

/// <param name="Id">Its client_id.</param>
/// <param name="Secret">One of its secrets, or a wrong one.</param>
internal sealed record BenchClient(string Id, string Secret)
{
    /// <summary>The credentials after <c>Basic</c>. Neither id nor secret needs form-encoding.</summary>
    public string Basic => Convert.ToBase64String(Encoding.ASCII.GetBytes($"{Id}:{Secret}"));

    /// <summary>A complete token request.</summary>
    public byte[] Request
    {
        get
        {
            const string body = "grant_type=client_credentials&scope=bench%3Aread";
            return Encoding.ASCII.GetBytes(
                $"POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {Basic}\r\n"
                + $"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {body.Length}\r\n\r\n{body}");
        }
    }
}

/// <summary>Clients of a measurement, with secrets as the server makes them.</summary>
internal static class Workload
{
    /// <summary>Hashes with the library that a server chooses by default.</summary>
    public static readonly SecretHasher Hasher = SecretHasher.Start(HashingLibrary.Auto, NullLogger.Instance);

    public static readonly Argon2Cost DefaultCost = new HashingOptions().Cost;

    public static readonly Argon2Cost Cheapest = new(Argon2Cost.MinMemoryKiB, Argon2Cost.MinIterations);

    private const string MakeClients = """
        select token_service.create_client(
            id, 'A client of a measurement', 'https://bench.example.com', array['bench:read'])
        from unnest(@ids) as id;

        select token_service.add_secret(c.id, c.secret_id, c.digest)
        from unnest(@ids, @secretIds, @digests) as c (id, secret_id, digest)
        """;

    private const string AddSecrets = """
        select token_service.add_secret(@id, c.secret_id, c.digest)
        from unnest(@secretIds, @digests) as c (secret_id, digest)
        """;

    private const string MakeKeyClients = """
        select token_service.create_client(
            id, 'A client of a measurement', 'https://bench.example.com', array['bench:read'], p_methods => array['private_key_jwt'])
        from unnest(@ids) as id;

        select token_service.add_key(c.id, c.jwk::jsonb, @kid, c.alg)
        from unnest(@ids, @jwks, @algs) as c (id, jwk, alg)
        """;

    private const string FindDigests = """
        select client_id, id, digest
        from token_service.client_secret
        where client_id = any (@ids)
        """;

    private const string KeepMacs = """
        select token_service.keep_verified_secrets(
            @ids, @macs, array_fill(@keyId::text, array[cardinality(@ids)]), array_fill(now(), array[cardinality(@ids)]))
        """;

    private const string Base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    /// <summary>Makes clients. Their secrets are hashed on all cores.</summary>
    public static async Task<IReadOnlyList<BenchClient>> MakeAsync(
        NpgsqlDataSource database, string name, int count, Argon2Cost cost, CancellationToken ct)
    {
        var secrets = Secrets(count, cost, ct);
        var clients = secrets.Select((secret, n) => new BenchClient($"{name}-{n}", secret.Value)).ToList();
        await using var command = database.CreateCommand(MakeClients);
        command.CommandTimeout = 120;
        command.Parameters.AddWithValue("ids", clients.Select(client => client.Id).ToArray());
        Add(command, secrets);
        await command.ExecuteNonQueryAsync(ct);
        return clients;
    }

    /// <summary>Gives a client more secrets.</summary>
    /// <returns>The client with the last of these secrets.</returns>
    public static async Task<BenchClient> AddSecretsAsync(NpgsqlDataSource database, BenchClient client, int count, CancellationToken ct)
    {
        var secrets = Secrets(count, Cheapest, ct);
        await using var command = database.CreateCommand(AddSecrets);
        command.Parameters.AddWithValue("id", client.Id);
        Add(command, secrets);
        await command.ExecuteNonQueryAsync(ct);
        return client with { Secret = secrets[^1].Value };
    }

    /// <summary>Makes clients that authenticate with a key.</summary>
    public static async Task<IReadOnlyList<KeyClient>> MakeKeyClientsAsync(
        NpgsqlDataSource database, CancellationToken ct, params (string Id, string Algorithm)[] clients)
    {
        var made = clients.Select(client => new KeyClient(client.Id, SigningKey.Create(client.Algorithm))).ToList();
        await using var command = database.CreateCommand(MakeKeyClients);
        command.Parameters.AddWithValue("ids", made.Select(client => client.Id).ToArray());
        command.Parameters.AddWithValue("jwks", made.Select(client => client.Key.Jwk).ToArray());
        command.Parameters.AddWithValue("algs", made.Select(client => client.Key.Algorithm).ToArray());
        command.Parameters.AddWithValue("kid", KeyClient.Kid);
        await command.ExecuteNonQueryAsync(ct);
        return made;
    }

    /// <summary>
    /// Keeps the MACs of the clients' secrets in the database, as a server does after it has hashed them.
    /// </summary>
    public static async Task KeepVerifiedAsync(NpgsqlDataSource database, IReadOnlyList<BenchClient> clients, CancellationToken ct)
    {
        var key = TokenServer.VerifiedSecretKey;
        var cache = new VerifiedSecretCache(
            Options.Create(new HashingOptions()), new VerifiedSecretKeys(key, [key]), new VerifiedSecretQueue(), TimeProvider.System);
        var secrets = clients.ToDictionary(client => client.Id, client => client.Secret, StringComparer.Ordinal);
        var (ids, macs) = (new List<string>(), new List<byte[]>());
        await using (var find = database.CreateCommand(FindDigests))
        {
            find.Parameters.AddWithValue("ids", secrets.Keys.ToArray());
            await using var rows = await find.ExecuteReaderAsync(ct);
            while (await rows.ReadAsync(ct))
            {
                var row = ToSecret(rows.GetString(1), rows.GetString(2));
                ids.Add(row.Id);
                macs.Add(cache.MacOf(row, secrets[rows.GetString(0)]).ToArray());
            }
        }

        await using var keep = database.CreateCommand(KeepMacs);
        keep.Parameters.AddWithValue("ids", ids.ToArray());
        keep.Parameters.AddWithValue("macs", macs.ToArray());
        keep.Parameters.AddWithValue("keyId", key.Id);
        await keep.ExecuteNonQueryAsync(ct);
        await AnalyzeAsync(database, ct);
    }

    /// <summary>Removes every MAC from the database, as before the first start ever.</summary>
    public static async Task ForgetVerifiedAsync(NpgsqlDataSource database, CancellationToken ct)
    {
        await using (var forget = database.CreateCommand("truncate token_service.verified_secret"))
            await forget.ExecuteNonQueryAsync(ct);
        await AnalyzeAsync(database, ct);
    }

    /// <summary>A well-formed secret whose selector is in no row.</summary>
    public static string Guess() => GeneratedSecret.Create().Value;

    /// <summary>A well-formed wrong secret with the selector of a real one, so that the server must hash it.</summary>
    public static string GuessAt(string secret)
    {
        var body = secret[..18] + RandomNumberGenerator.GetString(Base62, 43);
        var crc = ~0u;
        foreach (var c in body)
        {
            crc ^= c;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 1) == 0 ? crc >> 1 : (crc >> 1) ^ 0xEDB88320;
        }

        crc = ~crc;
        var checksum = new char[6];
        for (var i = checksum.Length - 1; i >= 0; i--, crc /= 62)
            checksum[i] = Base62[(int)(crc % 62)];
        return body + new string(checksum);
    }

    /// <summary>A secret as another system might make it.</summary>
    public static string Foreign() => RandomNumberGenerator.GetString(Base62, 40);

    /// <summary>A secret with a typo.</summary>
    public static string Damaged(string secret) => secret[..^1] + (secret[^1] == 'a' ? 'b' : 'a');

    private static (string Id, string Value, string Digest)[] Secrets(int count, Argon2Cost cost, CancellationToken ct)
    {
        var secrets = new (string, string, string)[count];
        Parallel.For(0, count, new ParallelOptions { CancellationToken = ct, MaxDegreeOfParallelism = Environment.ProcessorCount }, n =>
        {
            var secret = GeneratedSecret.Create();
            var digest = Hasher.Hash(secret.Value, cost) ?? throw new InvalidOperationException("There is no memory for hashing.");
            secrets[n] = (secret.Selector, secret.Value, digest.ToString());
        });
        return secrets;
    }

    private static async Task AnalyzeAsync(NpgsqlDataSource database, CancellationToken ct)
    {
        await using var analyze = database.CreateCommand("analyze");
        await analyze.ExecuteNonQueryAsync(ct);
    }

    // Only the id and the digest are part of the MAC.
    private static ClientSecret ToSecret(string id, string digest) => new()
    {
        Id = id,
        Digest = Argon2Digest.TryParse(digest, out var parsed)
            ? parsed
            : throw new InvalidOperationException("The database has a digest that is none."),
        NotBefore = DateTimeOffset.MinValue,
        ExpiresAt = null,
        RevokedAt = null,
        HasBegun = true,
        IsOver = false,
    };

    private static void Add(NpgsqlCommand command, (string Id, string Value, string Digest)[] secrets)
    {
        command.Parameters.AddWithValue("secretIds", secrets.Select(secret => secret.Id).ToArray());
        command.Parameters.AddWithValue("digests", secrets.Select(secret => secret.Digest).ToArray());
    }
}
