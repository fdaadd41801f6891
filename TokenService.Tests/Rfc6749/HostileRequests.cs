using System.Buffers;
using System.Text;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>
/// Randomly spoiled requests. The answer is a grant or a complete error, never a failure of the server.
/// </summary>
[TestFixture, Rfc(6749, "5.2"), Rfc(6749, "5.2a"), Rfc(6749, "5.2e")]
public sealed class HostileRequests : ServerFixture
{
    private const int Seed = 6749;
    private const int Count = 2000;

    // Fragments that parsers stumble over.
    private static readonly string[] Words =
    [
        "%", "%00", "%0", "%zz", "%C0%80", "%ED%A0%80", "%FF", "+", "&", "&&", "=", "==", ";", ":", "::", " ", "  ", "\0", "\r\n",
        "\u007F", "\u00FF", "\"", "\\", "'", "{", "[]", "<", "€", "\uFEFF", "grant_type", "grant_type=client_credentials",
        "&grant_type=password", "&scope=", "&scope=invoices:read", "&scope=invoices:read+unknown", "&client_id=billing",
        "&client_secret=", "&client_secret=x", "&client_assertion=x", "&resource=x", "tsvc_",
        "Basic ", "Bearer ", "charset=utf-8", "; charset=\"", ",", "application/", "\uD83D\uDD11", "-1", "9999999999",
    ];

    // Many of these requests carry a secret that must be hashed, so hashing is as cheap as possible and the rate limits
    // on failed attempts are out of reach.
    private protected override string[] Settings =>
        ["Hashing:MemoryKiB=8192", "Hashing:Iterations=1", "Limits:FailuresPerClient=10000", "Limits:FailuresPerSource=10000"];

    [Test]
    public async Task Every_answer_is_a_grant_or_a_complete_error()
    {
        var random = new Random(Seed);
        var statuses = new HashSet<int>();
        for (var i = 0; i < Count; i++)
        {
            var request = Request.Mutated(random, Client);
            // Without this the refusal throttle would delay each refusal.
            Server.Clock.Advance(TimeSpan.FromMilliseconds(2));
            var answer = await request.ToBuilder().SendAsync(Server);

            statuses.Add(answer.Status);
            Assert.That(() => IsComplete(answer), Throws.Nothing, $"request {i} of seed {Seed}: {request}");
        }

        // A status that is missing here would mean that the mutations are too tame.
        Assert.That(statuses, Is.EquivalentTo([200, 400, 401, 405, 413, 415]));
        Assert.That(Server.Log.Lines, Has.None.StartsWith("Error").And.None.StartsWith("Critical"));
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test]
    public void No_input_makes_a_parser_throw()
    {
        var random = new Random(Seed);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = Mutation.Of(random, "grant_type=client_credentials&scope=a%20b"u8.ToArray());
            var text = Encoding.Latin1.GetString(bytes);

            Assert.That(() => Form.Parse(new ReadOnlySequence<byte>(bytes)), Throws.Nothing);
            Assert.That(() => BasicCredentials.Parse(text), Throws.Nothing);
            Assert.That(() => BasicCredentials.Parse("Basic " + Convert.ToBase64String(bytes)), Throws.Nothing);
            Assert.That(() => ScopeSet.Parse(text), Throws.Nothing);
        }
    }

    private static void IsComplete(Answer answer)
    {
        if (answer.Status == 200)
        {
            answer.IsGrant(answer.Json.GetProperty("scope").GetString()!);
            return;
        }

        var code = answer.Json.GetProperty("error").GetString()!;
        var description = answer.Json.GetProperty("error_description").GetString()!;
        Assert.That((string[])[code, description], Has.All.Matches(@"\A[\x20\x21\x23-\x5B\x5D-\x7E]+\z"));
        switch (answer.Status, code)
        {
            case (401, "invalid_client"):
                answer.IsInvalidClient();
                break;
            case (405, "invalid_request"):
                answer.IsError(405, code, description, ("Allow", "POST"));
                break;
            case (413, "invalid_request"):
                answer.IsError(413, code, description, ("Connection", "close"));
                break;
            case (415, "invalid_request") or (400, "invalid_request" or "unsupported_grant_type" or "invalid_scope"):
                answer.IsError(answer.Status, code, description);
                break;
            default:
                Assert.Fail($"{answer.Status} {answer.Body}");
                break;
        }
    }

    /// <summary>A valid request, spoiled in one to three places.</summary>
    private sealed record Request(string Method, string Path, string? Authorization, string? ContentType, byte[] Body)
    {
        public static Request Mutated(Random random, TestClient client)
        {
            var credentials = Encoding.UTF8.GetBytes($"{client.Id}:{client.Secret}");
            var body = "grant_type=client_credentials&scope=invoices:read"u8.ToArray();
            var request = random.Next(2) == 0
                ? new Request("POST", "/token", Basic(credentials), "application/x-www-form-urlencoded", body)
                : new Request("POST", "/token", null, "application/x-www-form-urlencoded",
                    [.. body, .. Encoding.UTF8.GetBytes($"&client_id={client.Id}&client_secret={client.Secret}")]);

            for (var times = random.Next(1, 4); times > 0; times--)
            {
                request = random.Next(20) switch
                {
                    0 => request with { Method = random.GetItems(["PUT", "DELETE", "OPTIONS", "TRACE", "X"], 1)[0] },
                    1 => request with { Path = "/token?" + Printable(Mutation.Of(random, "x=y"u8.ToArray())).Replace('#', 'x') },
                    2 or 3 => request with { ContentType = Printable(Mutation.Of(random, Bytes(request.ContentType))) },
                    >= 4 and < 7 => request with { Authorization = Printable(Mutation.Of(random, Bytes(request.Authorization))) },
                    >= 7 and < 10 => request with { Authorization = Basic(Mutation.Of(random, credentials)) },
                    10 => request with { Body = [.. request.Body, .. new byte[random.Next(20_000)].Select(_ => (byte)'x')] },
                    _ => request with { Body = Mutation.Of(random, request.Body) },
                };
            }

            return request;
        }

        public TokenRequestBuilder ToBuilder()
        {
            var builder = TokenRequestBuilder.Anonymous()
                .WithMethod(new HttpMethod(Method)).WithPath(Path).WithContentType(ContentType).WithBody(Body);
            return Authorization is null ? builder : builder.WithAuthorization(Authorization);
        }

        public override string ToString() => $"{Method} {Path}\n{Authorization}\n{ContentType}\n{Encoding.Latin1.GetString(Body)}";

        private static string Basic(byte[] credentials) => "Basic " + Convert.ToBase64String(credentials);

        private static byte[] Bytes(string? text) => Encoding.ASCII.GetBytes(text ?? "");

        // The characters that an HTTP client lets through in a header or an address.
        private static string Printable(byte[] bytes) => Encoding.ASCII.GetString([.. bytes.Where(b => b is >= 0x20 and < 0x7F)]).Trim();
    }

    private static class Mutation
    {
        public static byte[] Of(Random random, byte[] bytes)
        {
            var from = random.Next(bytes.Length + 1);
            var to = random.Next(from, bytes.Length + 1);
            return random.Next(7) switch
            {
                0 => [.. bytes[..from], (byte)random.Next(256), .. bytes[from..]],
                1 => [.. bytes[..from], .. bytes[to..]],
                2 => [.. bytes[..to], .. bytes[from..]],
                3 => [.. bytes[from..], .. bytes[..from]],
                4 => [.. bytes.Select((b, at) => at == from ? (byte)(b ^ (1 << random.Next(8))) : b)],
                5 => Noise(random),
                _ => [.. bytes[..from], .. Encoding.UTF8.GetBytes(random.GetItems(Words, 1)[0]), .. bytes[from..]],
            };
        }

        private static byte[] Noise(Random random)
        {
            var noise = new byte[random.Next(100)];
            random.NextBytes(noise);
            return noise;
        }
    }
}
