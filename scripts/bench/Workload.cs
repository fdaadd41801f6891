using System.Security.Cryptography;
using System.Text;
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
            var digest = SecretHasher.Hash(secret.Value, cost) ?? throw new InvalidOperationException("There is no memory for hashing.");
            secrets[n] = (secret.Selector, secret.Value, digest.ToString());
        });
        return secrets;
    }

    private static void Add(NpgsqlCommand command, (string Id, string Value, string Digest)[] secrets)
    {
        command.Parameters.AddWithValue("secretIds", secrets.Select(secret => secret.Id).ToArray());
        command.Parameters.AddWithValue("digests", secrets.Select(secret => secret.Digest).ToArray());
    }
}
