using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Examples;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>
/// Tests how scripts/examples/dotnet-caller authenticates with a key (RFC 7523) and binds tokens to one (RFC 9449), with a
/// fake clock.
/// </summary>
[TestFixture]
public sealed class DotnetCallerKeys : ServerFixture
{
    private static readonly Uri Api = new("https://api.example.com/");

    private readonly string folder = Directory.CreateTempSubdirectory().FullName;

    private SigningKey key = null!;

    [OneTimeSetUp]
    public async Task MakeClient()
    {
        key = SigningKey.Create();
        await AddClientAsync("signer", "ES256", key.PublicJwk, key.KeyId);
    }

    [OneTimeTearDown]
    public void DeleteFolder() => Directory.Delete(folder, recursive: true);

    [TestCase("ES256", "jwk")]
    [TestCase("ES384", "jwk")]
    [TestCase("PS256", "jwk")]
    [TestCase("RS256", "jwk")]
    [TestCase("ES256", "pem")]
    [TestCase("ES384", "pem")]
    [TestCase("PS256", "pem")]
    [TestCase("RS256", "pem")]
    public async Task The_caller_reads_the_key_that_the_command_client_key_has_made(string algorithm, string format)
    {
        var (id, file) = ($"{algorithm}-{format}", Path.Combine(folder, $"{algorithm}.{format}"));
        var made = await Tool.TokenServiceAsync(["client-key", "new", "--alg", algorithm, file]);
        await AddClientAsync(id, algorithm, JsonNode.Parse(made.Value("public_jwk"))!, made.Value("kid"));
        var read = SigningKey.Read(await File.ReadAllTextAsync(file), algorithm: algorithm);
        using var toServer = new Recorder(Server.NewHandler());

        var token = await Credentials(toServer, id, read).GetTokenAsync();

        using (Assert.EnterMultipleScope())
        {
            Assert.That((read.KeyId, read.Algorithm), Is.EqualTo((made.Value("kid"), algorithm)));
            Assert.That(new JsonWebToken(token).GetClaim("client_id").Value, Is.EqualTo(id));
            Assert.That(toServer.Requests.Single().Authorization, Is.Null);
        }
    }

    [Test, Rfc(7523, "3")]
    public async Task Each_request_has_its_own_assertion_for_the_issuer()
    {
        using var toServer = new Recorder(Server.NewHandler());
        var time = $"{Server.Clock.GetUtcNow().ToUnixTimeSeconds()}";
        var end = $"{Server.Clock.GetUtcNow().ToUnixTimeSeconds() + 60}";
        toServer.Instead.Enqueue(new HttpResponseMessage(HttpStatusCode.ServiceUnavailable)
        {
            Headers = { RetryAfter = new RetryConditionHeaderValue(TimeSpan.Zero) },
        });

        await Credentials(toServer, "signer", key).GetTokenAsync();

        var assertions = toServer.Requests.Select(request => new JsonWebToken(request.Form("client_assertion"))).ToList();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(assertions, Has.Count.EqualTo(2));
            Assert.That(assertions.DistinctBy(assertion => assertion.Id).Count(), Is.EqualTo(2));
            Assert.That(
                assertions[1].Claims.Select(claim => (claim.Type, claim.Value)),
                Is.EquivalentTo(new[]
                {
                    ("iss", "signer"), ("sub", "signer"), ("aud", TestServer.Issuer), ("jti", assertions[1].Id), ("iat", time),
                    ("exp", end),
                }));
            Assert.That(
                (assertions[1].Typ, assertions[1].Alg, assertions[1].Kid),
                Is.EqualTo(("client-authentication+jwt", "ES256", key.KeyId)));
        }
    }

    [TestCase("secret")]
    [TestCase("key")]
    [Rfc(9449, "7.1")]
    public async Task The_API_gets_the_bound_token_with_a_new_proof_for_each_request(string credential)
    {
        using var toServer = new Recorder(Server.NewHandler());
        using var toApi = new Recorder();
        using var caller = new Caller(
            toServer, toApi, Server.Clock,
            credential == "key" ? new ClientKey("signer", TestServer.Issuer, key) : new ClientSecret(Client.Id, Client.Secret));

        await caller.GetAsync("invoices?page=2");
        await caller.PostAsync("invoices");

        var token = toApi.Requests.First().Authorization!.Parameter!;
        var bound = JsonNode.Parse(new JsonWebToken(token).GetClaim("cnf").Value)!["jkt"]!.GetValue<string>();
        var hash = Base64UrlEncoder.Encode(SHA256.HashData(Encoding.ASCII.GetBytes(token)));
        var proofs = toApi.Requests.Select(request => Proof.Read(request)).ToList();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(toApi.Requests.Select(request => request.Authorization!.ToString()), Is.All.EqualTo($"DPoP {token}"));
            Assert.That(toServer.Requests, Has.Count.EqualTo(1));
            Assert.That(
                proofs.Select(proof => (proof.Thumbprint, proof.Method, proof.Address, proof.TokenHash, proof.Nonce)),
                Is.EqualTo(new[]
                {
                    (bound, "GET", "https://api.example.com/invoices", hash, null as string),
                    (bound, "POST", "https://api.example.com/invoices", hash, null),
                }));
            Assert.That(proofs.DistinctBy(proof => proof.Id).Count(), Is.EqualTo(2));
        }
    }

    [Test, Rfc(9449, "7.1")]
    public async Task A_request_that_is_repeated_has_another_proof()
    {
        using var toServer = new Recorder(Server.NewHandler());
        using var toApi = new Recorder();
        using var caller = new Caller(toServer, toApi, Server.Clock, new ClientKey("signer", TestServer.Issuer, key));
        toApi.Instead.Enqueue(new HttpResponseMessage(HttpStatusCode.ServiceUnavailable)
        {
            Headers = { RetryAfter = new RetryConditionHeaderValue(TimeSpan.Zero) },
        });
        toApi.Instead.Enqueue(new HttpResponseMessage(HttpStatusCode.Unauthorized));

        var status = await caller.GetAsync("invoices");

        using (Assert.EnterMultipleScope())
        {
            Assert.That(status, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(toApi.Requests.Select(request => Proof.Read(request).Id).Distinct().Count(), Is.EqualTo(3));
            Assert.That(
                toApi.Requests.Select(request => request.Authorization!.Parameter).Distinct().Count(), Is.EqualTo(2),
                "401 without a nonce causes another token");
            Assert.That(toServer.Requests, Has.Count.EqualTo(2));
        }
    }

    [Test, Rfc(9449, "8")]
    public async Task The_nonce_of_the_token_endpoint_is_kept_for_the_next_token()
    {
        await using var server = await TestServer.StartAsync(Database, "Dpop:Nonce=Required");
        using var toServer = new Recorder(server.NewHandler());
        using var toApi = new Recorder();
        using var caller = new Caller(toServer, toApi, server.Clock, new ClientKey("signer", TestServer.Issuer, key));

        await caller.GetAsync("invoices");
        var first = toServer.Requests.Count;
        toApi.Instead.Enqueue(new HttpResponseMessage(HttpStatusCode.Unauthorized));
        await caller.GetAsync("invoices");

        using (Assert.EnterMultipleScope())
        {
            Assert.That((first, toServer.Requests.Count), Is.EqualTo((2, 3)));
            Assert.That(
                toServer.Requests.Select(request => Proof.Read(request).Nonce).TakeWhile(nonce => nonce is null).Count(), Is.EqualTo(1));
            Assert.That(
                toServer.Requests.Select(request => Proof.Read(request)).Select(proof => (proof.Address, proof.TokenHash)),
                Is.All.EqualTo(($"{TestServer.Issuer}/token", null as string)));
        }
    }

    [Test, Rfc(9449, "9")]
    public async Task The_nonce_of_the_API_is_kept_and_the_token_too()
    {
        using var toServer = new Recorder(Server.NewHandler());
        using var toApi = new Recorder();
        using var caller = new Caller(toServer, toApi, Server.Clock, new ClientKey("signer", TestServer.Issuer, key));
        toApi.Instead.Enqueue(DemandingNonce("first"));
        toApi.Instead.Enqueue(new HttpResponseMessage(HttpStatusCode.OK) { Headers = { { "DPoP-Nonce", "second" } } });

        var statuses = new[] { await caller.GetAsync("invoices"), await caller.GetAsync("invoices") };

        using (Assert.EnterMultipleScope())
        {
            Assert.That(statuses, Is.All.EqualTo(HttpStatusCode.OK));
            Assert.That(
                toApi.Requests.Select(request => Proof.Read(request).Nonce), Is.EqualTo(new[] { null, "first", "second" }));
            Assert.That(toServer.Requests, Has.Count.EqualTo(1));
        }
    }

    [TestCase("stream", 1)]
    [TestCase("text", 2)]
    public async Task An_API_that_demands_a_nonce_again_and_again_is_asked_at_most_twice(string content, int requests)
    {
        using var toApi = new Recorder();
        using var http = new HttpClient(new DpopHandler(new DpopKey(Server.Clock)) { InnerHandler = toApi });
        for (var answer = 0; answer < 5; answer++)
            toApi.Instead.Enqueue(DemandingNonce($"{answer}"));

        using var body = content == "text" ? (HttpContent)new StringContent("text") : new StreamContent(new MemoryStream([1]));
        using var response = await http.PostAsync(Api, body);

        Assert.That((response.StatusCode, toApi.Requests.Count), Is.EqualTo((HttpStatusCode.Unauthorized, requests)));
    }

    [Test, Rfc(9449, "5")]
    public void A_token_that_should_be_bound_and_is_not_is_not_used()
    {
        using var http = new HttpClient(Server.NewHandler());
        var credentials = new ClientCredentials(
            http, new Uri($"{TestServer.Issuer}/token"), new ClientKey("signer", TestServer.Issuer, key), isBound: true,
            clock: Server.Clock);

        Assert.That(() => credentials.GetTokenAsync(), Throws.TypeOf<TokenRequestException>());
    }

    private Task AddClientAsync(string id, string algorithm, JsonNode publicJwk, string kid) => Database.ExecuteAsync(
        """
        select token_service.create_client(
            @id, 'A client of a test', 'https://api.example.com', '{invoices:read}', '{invoices:read}', '{private_key_jwt}');
        select token_service.add_key(@id, token_service.read_jwk(@jwk), @kid, @algorithm)
        """,
        new { id, jwk = publicJwk.ToJsonString(), kid, algorithm });

    private ClientCredentials Credentials(Recorder toServer, string id, SigningKey signer) => new(
        new HttpClient(toServer, disposeHandler: false), new Uri($"{TestServer.Issuer}/token"),
        new ClientKey(id, TestServer.Issuer, signer), clock: Server.Clock);

    private static HttpResponseMessage DemandingNonce(string nonce) => new(HttpStatusCode.Unauthorized)
    {
        Headers = { { "WWW-Authenticate", "DPoP error=\"use_dpop_nonce\", algs=\"ES256\"" }, { "DPoP-Nonce", nonce } },
    };

    /// <summary>A program with the two clients that Program.cs makes.</summary>
    private sealed class Caller : IDisposable
    {
        private readonly HttpClient http;

        public Caller(Recorder toServer, Recorder toApi, TimeProvider clock, ClientAuthentication client)
        {
            var dpop = new DpopKey(clock);
            var credentials = new ClientCredentials(
                new HttpClient(new DpopHandler(dpop) { InnerHandler = toServer }), new Uri($"{TestServer.Issuer}/token"), client,
                "invoices:read", isBound: true, clock: clock);
            http = new HttpClient(new ClientCredentialsHandler(credentials, Api)
            {
                InnerHandler = new DpopHandler(dpop) { InnerHandler = toApi },
            })
            {
                BaseAddress = Api,
            };
        }

        public async Task<HttpStatusCode> GetAsync(string path)
        {
            using var response = await http.GetAsync(new Uri(path, UriKind.Relative));
            return response.StatusCode;
        }

        public async Task PostAsync(string path)
        {
            using var content = new StringContent("an invoice");
            using var response = await http.PostAsync(new Uri(path, UriKind.Relative), content);
        }

        public void Dispose() => http.Dispose();
    }

    private sealed record Recorded(HttpMethod Method, AuthenticationHeaderValue? Authorization, string? Dpop, string Body)
    {
        public string Form(string name) => QueryHelpers.ParseQuery(Body)[name].Single()!;
    }

    /// <summary>
    /// Keeps what is sent. It answers instead of the server as long as answers are queued, and with 200 where there is no
    /// server.
    /// </summary>
    private sealed class Recorder(HttpMessageHandler? server = null) : DelegatingHandler(server ?? new SocketsHttpHandler())
    {
        public ConcurrentQueue<Recorded> Requests { get; } = new();

        public ConcurrentQueue<HttpResponseMessage> Instead { get; } = new();

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var dpop = request.Headers.TryGetValues("DPoP", out var values) ? values.Single() : null;
            var body = request.Content is ByteArrayContent content ? await content.ReadAsStringAsync(cancellationToken) : "";
            Requests.Enqueue(new Recorded(request.Method, request.Headers.Authorization, dpop, body));
            if (Instead.TryDequeue(out var answer))
                return answer;
            return server is null ? new HttpResponseMessage() : await base.SendAsync(request, cancellationToken);
        }
    }

    /// <summary>A DPoP proof, whose signature Microsoft's library verifies with the key in its header.</summary>
    private sealed record Proof(string Thumbprint, string Id, string Method, string Address, string? TokenHash, string? Nonce)
    {
        public static Proof Read(Recorded request)
        {
            var jwt = new JsonWebToken(request.Dpop);
            var key = new JsonWebKey(jwt.GetHeaderValue<System.Text.Json.JsonElement>("jwk").GetRawText());
            var result = new JsonWebTokenHandler().ValidateTokenAsync(jwt, new TokenValidationParameters
            {
                IssuerSigningKey = key,
                ValidTypes = ["dpop+jwt"],
                ValidateIssuer = false,
                ValidateAudience = false,
                ValidateLifetime = false,
            }).GetAwaiter().GetResult();
            Assert.That((result.IsValid, key.HasPrivateKey), Is.EqualTo((true, false)), $"{result.Exception}");
            return new Proof(
                Base64UrlEncoder.Encode(key.ComputeJwkThumbprint()), jwt.Id, Claim(jwt, "htm")!, Claim(jwt, "htu")!,
                Claim(jwt, "ath"), Claim(jwt, "nonce"));
        }

        private static string? Claim(JsonWebToken jwt, string name) => jwt.TryGetClaim(name, out var claim) ? claim.Value : null;
    }
}
