using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>A stolen dump of the database does not let the thief sign tokens.</summary>
[TestFixture]
public sealed class KeyDump : ServerFixture
{
    private static readonly string[] Rsa = ["d", "p", "q", "dp", "dq", "qi"];

    // The ways in which text can hold a number. A dump is text, so it shows raw bytes as hexadecimal or escaped.
    private static readonly Dictionary<string, Func<byte[], string>> Encodings = new()
    {
        ["hexadecimal"] = Convert.ToHexStringLower,
        ["upper case hexadecimal"] = Convert.ToHexString,
        ["Base64"] = bytes => Base64(bytes, 0),
        ["Base64 a byte later"] = bytes => Base64(bytes, 1),
        ["Base64 two bytes later"] = bytes => Base64(bytes, 2),
        ["Base64url"] = bytes => ToUrl(Base64(bytes, 0)),
        ["Base64url a byte later"] = bytes => ToUrl(Base64(bytes, 1)),
        ["Base64url two bytes later"] = bytes => ToUrl(Base64(bytes, 2)),
        ["escaped bytes"] = bytes => string.Concat(bytes.Select(Escape)),
        ["decimal"] = bytes => new BigInteger(bytes, isUnsigned: true, isBigEndian: true).ToString(CultureInfo.InvariantCulture),
    };

    private protected override string[] Settings => ["Keys:RsaKeySize=2048", "Keys:SigningPeriod=01:00:00"];

    [Test]
    public async Task A_database_dump_contains_no_private_key()
    {
        // There are keys of every algorithm; of each algorithm one has signed and one is to sign.
        await Database.ExecuteAsync(
            """
            insert into token_service.resource (id, signing_alg)
            select 'https://' || alg, alg
            from unnest(array['ES384', 'RS256', 'PS256']) alg
            """);
        await StepAsync();
        Server.Clock.Advance(TimeSpan.FromHours(1));
        await StepAsync();

        var secrets = await SecretsAsync();
        var dump = await DumpAsync(Database);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(secrets.CountBy(secret => secret.Name).Where(count => count.Value > 1).Select(count => count.Key),
                Is.EquivalentTo([.. Names("ES256", "d"), .. Names("ES384", "d"), .. Names("RS256", Rsa), .. Names("PS256", Rsa)]));
            Assert.That(dump, Does.Contain("COPY token_service.signing_key "));
            Assert.That(secrets.SelectMany(secret => FindIn(secret.Name, secret.Value, dump)), Is.Empty);
        }
    }

    [Test]
    public async Task The_search_finds_a_private_key_in_a_dump_in_every_encoding()
    {
        var secret = (await SecretsAsync())[0].Value;
        await using var database = await Database.CreateEmptyAsync();
        await database.ExecuteAsync("create table scratch (bytes bytea, text text)");
        await database.ExecuteAsync("insert into scratch (bytes) values (@secret)", new { secret });
        Assert.That(FindIn("it", secret, await DumpAsync(database)), Is.EqualTo(["it in hexadecimal"]));

        var texts = Encodings.Where(encoding => encoding.Key != "escaped bytes")
            .Select(encoding => encoding.Value(secret));
        // The lines are broken as in a PEM file.
        await database.ExecuteAsync(
            """
            insert into scratch (text)
            values (encode(@secret, 'escape')), (regexp_replace(@texts, '(.{64})', E'\\1\n', 'g'))
            """,
            new { secret, texts = string.Join('|', texts) });
        Assert.That(
            FindIn("it", secret, await DumpAsync(database)),
            Is.EqualTo(Encodings.Keys.Select(encoding => $"it in {encoding}")));
    }

    private static IEnumerable<string> Names(string algorithm, params string[] members) =>
        [.. members.Select(member => $"{member} of {algorithm}"), $"PKCS #8 of {algorithm}"];

    private Task<string?> StepAsync() => Server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);

    private async Task<List<(string Name, byte[] Value)>> SecretsAsync()
    {
        var sealingKeys = Server.Services.GetRequiredService<SealingKeys>();
        var all = await Server.Services.GetRequiredService<SigningKeyStore>().LoadSealedAsync(CancellationToken.None);
        return [.. all.SelectMany(key => Secrets(key.Algorithm, sealingKeys.Unseal(key)))];
    }

    private static IEnumerable<(string Name, byte[] Value)> Secrets(string algorithm, byte[] pkcs8) =>
        Names(algorithm, algorithm.StartsWith("ES", StringComparison.Ordinal) ? ["d"] : Rsa)
            .Zip([.. Integers(algorithm, pkcs8), pkcs8]);

    private static IEnumerable<byte[]> Integers(string algorithm, byte[] pkcs8)
    {
        using var pair = SignatureAlgorithm.Of(algorithm).ReadPair(pkcs8);
        if (pair is ECDsa ecdsa)
            return [ecdsa.ExportParameters(includePrivateParameters: true).D!];

        var rsa = ((RSA)pair).ExportParameters(includePrivateParameters: true);
        return [rsa.D!, rsa.P!, rsa.Q!, rsa.DP!, rsa.DQ!, rsa.InverseQ!];
    }

    // Undoes the escapes of COPY and removes line breaks, because a PEM file breaks the number into lines.
    private static async Task<string> DumpAsync(Database database) =>
        Regex.Replace(await Psql.DumpAsync(database), @"\\(.)", escaped => escaped.Value == @"\\" ? @"\" : "");

    private static IEnumerable<string> FindIn(string name, byte[] secret, string dump) =>
        Encodings.Where(encoding => dump.Contains(encoding.Value(secret), StringComparison.Ordinal))
            .Select(encoding => $"{name} in {encoding.Key}");

    // The Base64 of a number depends on its distance from the beginning. The first and last characters are cut off
    // where they also encode neighbouring bytes.
    private static string Base64(byte[] bytes, int distance)
    {
        var text = Convert.ToBase64String([.. new byte[distance], .. bytes]);
        return text[(distance == 0 ? 0 : 4)..(((distance + bytes.Length) / 3) * 4)];
    }

    private static string ToUrl(string base64) => base64.Replace('+', '-').Replace('/', '_');

    private static string Escape(byte value) => value switch
    {
        (byte)'\\' => @"\\",
        >= (byte)'\b' and <= (byte)'\r' => "", // removed with the line breaks
        0 or > 127 => $@"\{Convert.ToString(value, 8).PadLeft(3, '0')}",
        _ => $"{(char)value}",
    };
}
