using System.Buffers.Text;
using System.Text;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7662;

/// <summary>Randomly spoiled tokens, made from an active one.</summary>
[TestFixture, Rfc(7662, "2.2b"), Rfc(7662, "2.3b"), Rfc(8725, "3.3")]
public sealed class HostileTokens : IntrospectionFixture
{
    private const int Seed = 7662;
    private const int Count = 3000;

    // Fragments that JWT parsers stumble over.
    private static readonly string[] Words =
    [
        ".", "..", "=", "==", "+", "/", "-", "_", "A", "e30", "bnVsbA", "W10", " ", "\0", "\n", "%", "&", "€", "\uFEFF",
        "{", "}", "[", "]", "\"", "\\", ",", ":", "null", "true", "0", "-1", "1e999", "9999999999",
        "\\u0000", "\\ud800", "\\udc00\\ud800",
        "\"alg\":\"none\",", "\"alg\":\"HS256\",", "\"typ\":\"JWT\",", "\"typ\":null,", "\"kid\":\"x\",", "\"kid\":[],",
        "\"crit\":[\"x\"],",
        "\"iss\":\"x\",", "\"exp\":9999999999,", "\"exp\":\"x\",", "\"iat\":-1,", "\"aud\":[],", "\"scope\":\"  \",", "\"\\ud800\":1,",
        "\"jti\":\"\\udfff\",", "\"client_id\":\"\\u0000\",", "\"client_id\":\"nobody\",", "\"nbf\":1.5,",
    ];

    [Test]
    public async Task A_spoiled_token_is_inactive()
    {
        var random = new Random(Seed);
        var good = await IssueAsync();
        var active = 0;
        for (var i = 0; i < Count; i++)
        {
            var token = Mutated(random, good);
            var answer = await IntrospectAsync(token);
            Assert.That(() => IsComplete(answer), Throws.Nothing, $"token {i} of seed {Seed}: {token}");

            void IsComplete(Answer answer)
            {
                if (token.Length == 0)
                    answer.IsError(400, "invalid_request", "The parameter token is missing from the body.");
                else if (token == good)
                    answer.IsActive(good);
                else
                    answer.IsInactive();
                active += token == good ? 1 : 0;
            }
        }

        // Some mutations restore the valid token. If most of them did, this test would have tried little.
        Assert.That(active, Is.InRange(1, Count / 10));
        await NothingFailedAsync(good);
    }

    // The holder of the signing key can sign any header and payload. The answer must then be complete: active, or the
    // one answer of every inactive token.
    [Test]
    public async Task A_spoiled_token_with_a_valid_signature_gets_a_complete_answer()
    {
        var random = new Random(Seed);
        var good = await IssueAsync();
        using var key = await Forgery.KeyOfAsync(Server);
        var active = 0;
        for (var i = 0; i < Count; i++)
        {
            var (header, payload) = (Part(good, 0), Part(good, 1));
            if (random.Next(2) == 0)
                header = Mutation(random, header);
            else
                payload = Mutation(random, payload);
            var token = new Forgery(good).WithRawHeader(header).WithRawPayload(payload).SignedBy(key);

            var answer = await IntrospectAsync(token);

            if (answer.Status == 200 && answer.Json.GetProperty("active").GetBoolean())
                active++;
            else
                Assert.That(
                    answer.IsInactive, Throws.Nothing, $"token {i} of seed {Seed}: {Encoding.Latin1.GetString([.. header, .. payload])}");
        }

        Assert.That(active, Is.InRange(1, Count - 1));
        await NothingFailedAsync(good);
    }

    private async Task NothingFailedAsync(string good)
    {
        Assert.That(Server.Log.Lines, Has.None.StartsWith("Error").And.None.StartsWith("Critical").And.None.Contains(good));
        (await IntrospectAsync(good)).IsActive(good);
    }

    // Spoils the token as text, or one of its parts as JSON, and keeps the old signature.
    private static string Mutated(Random random, string good)
    {
        var token = good;
        for (var times = random.Next(1, 4); times > 0; times--)
        {
            var parts = token.Split('.');
            var part = random.Next(6);
            token = part < parts.Length && Base64Url.IsValid(parts[part])
                ? string.Join('.', parts.Select((text, at) => at == part ? Recoded(random, text) : text))
                : Encoding.Latin1.GetString(Mutation(random, Encoding.Latin1.GetBytes(token)));
        }

        return token;
    }

    private static string Recoded(Random random, string part) =>
        Base64Url.EncodeToString(Mutation(random, Base64Url.DecodeFromChars(part)));

    private static byte[] Part(string jwt, int index) => Base64Url.DecodeFromChars(jwt.Split('.')[index]);

    private static byte[] Mutation(Random random, byte[] bytes)
    {
        var from = random.Next(bytes.Length + 1);
        var to = random.Next(from, bytes.Length + 1);
        return random.Next(8) switch
        {
            0 => [.. bytes[..from], (byte)random.Next(256), .. bytes[from..]],
            1 => [.. bytes[..from], .. bytes[to..]],
            2 => [.. bytes[..to], .. bytes[from..]],
            3 => [.. bytes[from..], .. bytes[..from]],
            4 or 5 => [.. bytes.Select((b, at) => at == from ? (byte)(b ^ (1 << random.Next(8))) : b)],
            // Inserts the fragment behind the opening brace of the object.
            6 => [.. bytes.Take(1), .. Encoding.UTF8.GetBytes(random.GetItems(Words, 1)[0]), .. bytes.Skip(1)],
            _ => [.. bytes[..from], .. Encoding.UTF8.GetBytes(random.GetItems(Words, 1)[0]), .. bytes[from..]],
        };
    }
}
