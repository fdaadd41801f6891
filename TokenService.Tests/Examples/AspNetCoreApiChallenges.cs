using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>
/// The challenges and the metadata of scripts/examples/aspnetcore-api, run with various settings, by which a client
/// finds out what the API wants.
/// </summary>
[TestFixture, Rfc(9449, "7.1"), Rfc(9728, "5.1")]
public sealed class AspNetCoreApiChallenges : BoundTokenFixture
{
    private const string Audience = "https://api.example.com";
    private const string Metadata = "resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource\"";

    private ExampleApi? api;

    [TearDown]
    public async Task StopApi()
    {
        await (api?.DisposeAsync() ?? ValueTask.CompletedTask);
        api = null;
    }

    [Test, Rfc(9449, "7.2"), Rfc(6750, "3b")]
    public async Task A_request_without_a_token_is_told_of_both_schemes()
    {
        await StartAsync();

        IsChallenged(await SendAsync(), 401, $"Bearer {Metadata}, DPoP algs=\"ES256 ES384 PS256\", {Metadata}");
    }

    [Test]
    public async Task Another_scheme_counts_as_no_token()
    {
        await StartAsync();

        IsChallenged(await SendAsync("Basic YTpi"), 401, $"Bearer {Metadata}, DPoP algs=\"ES256 ES384 PS256\", {Metadata}");
    }

    [TestCase("Bearer", "", ", DPoP algs=\"ES256 ES384 PS256\", " + Metadata)]
    [TestCase("DPoP", ", algs=\"ES256 ES384 PS256\"", ", Bearer " + Metadata)]
    public async Task A_bad_token_is_an_error_of_the_scheme_it_came_with(string scheme, string algorithms, string other)
    {
        await StartAsync();
        var forged = new Forgery(Token).WithDamagedSignature();

        var answer = await SendAsync($"{scheme} {forged}", Proof(forged).Signed());

        IsChallenged(answer, 401,
            $"{scheme} error=\"invalid_token\", error_description=\"The signature is invalid\"{algorithms}, {Metadata}{other}");
    }

    // JwtBearer puts the wrong issuer into its description, and the forger chose it.
    [Test, Rfc(6750, "3")]
    public async Task A_description_has_no_character_that_a_challenge_must_not_have()
    {
        await StartAsync();
        var token = new Forgery(UnboundToken).WithClaim("iss", "\"\\é").SignedBy(await Forgery.KeyOfAsync(Server));

        IsChallenged(await SendAsync($"Bearer {token}"), 401,
            $"Bearer error=\"invalid_token\", error_description=\"The issuer '???' is invalid\", {Metadata}, "
            + $"DPoP algs=\"ES256 ES384 PS256\", {Metadata}");
    }

    [Test]
    public async Task An_API_that_requires_DPoP_offers_nothing_else()
    {
        await StartAsync("--Dpop:Require=true", "--Dpop:PublicAddress=https://api.example.com");

        using (Assert.EnterMultipleScope())
        {
            IsChallenged(await SendAsync(), 401, $"DPoP algs=\"ES256 ES384 PS256\", {Metadata}");
            IsChallenged(await SendAsync($"Bearer {UnboundToken}"), 401,
                "DPoP error=\"invalid_token\", error_description=\"This API accepts only tokens that are bound to a key.\", "
                + $"algs=\"ES256 ES384 PS256\", {Metadata}");
            Assert.That((await SendAsync($"DPoP {Token}", Proof(Token).Signed())).Status, Is.EqualTo(200));
            await IsMetadataAsync("/.well-known/oauth-protected-resource", $$"""
                {"resource":"https://api.example.com","authorization_servers":["{{Authority}}"],
                "bearer_methods_supported":["header"],"scopes_supported":["invoices:read","invoices:write"],
                "dpop_signing_alg_values_supported":["ES256","ES384","PS256"],"dpop_bound_access_tokens_required":true}
                """);
        }
    }

    [Test, Rfc(9449, "4.3h")]
    public async Task An_API_can_accept_fewer_algorithms()
    {
        await StartAsync("--Dpop:Algorithms=PS256", "--Dpop:PublicAddress=https://api.example.com");

        using (Assert.EnterMultipleScope())
        {
            IsChallenged(await SendAsync($"DPoP {Token}", Proof(Token).Signed()), 401,
                "DPoP error=\"invalid_dpop_proof\", error_description=\"alg of the DPoP proof is not one of those in algs.\", "
                + $"algs=\"PS256\", {Metadata}, Bearer {Metadata}");
            await IsMetadataAsync("/.well-known/oauth-protected-resource", Document(Audience, "\"PS256\""));
        }
    }

    [TestCase(Audience, "/.well-known/oauth-protected-resource")]
    [TestCase("https://api.example.com/", "/.well-known/oauth-protected-resource")]
    [TestCase("https://api.example.com/billing/v1", "/.well-known/oauth-protected-resource/billing/v1")]
    [TestCase("http://127.0.0.1:5000/billing", "/.well-known/oauth-protected-resource/billing")]
    [Rfc(9728, "3.1"), Rfc(9728, "2")]
    public async Task The_metadata_is_between_host_and_path_of_the_resource(string audience, string path)
    {
        api = await ExampleApi.StartAsync(Authority, audience);
        var address = new Uri(new Uri(audience), path).OriginalString;

        using (Assert.EnterMultipleScope())
        {
            IsChallenged(await SendAsync(), 401,
                $"Bearer resource_metadata=\"{address}\", DPoP algs=\"ES256 ES384 PS256\", resource_metadata=\"{address}\"");
            await IsMetadataAsync(path, Document(audience, "\"ES256\",\"ES384\",\"PS256\""));
        }
    }

    // The API answers 401 to every path that does not exist.
    [Test, Rfc(9728, "1.2")]
    public async Task An_API_whose_id_is_no_URL_has_no_metadata(
        [Values("billing", "urn:example:billing", "https://a.example/#b")] string audience)
    {
        api = await ExampleApi.StartAsync(Authority, audience);

        using (Assert.EnterMultipleScope())
        {
            IsChallenged(await SendAsync(), 401, "Bearer, DPoP algs=\"ES256 ES384 PS256\"");
            Assert.That((await GetAsync("/.well-known/oauth-protected-resource")).Status, Is.EqualTo(401));
        }
    }

    // Without PublicAddress the API goes by the Host header, which is weaker: see DpopOptions.
    [Test, Rfc(9449, "4.3j")]
    public async Task An_API_without_a_public_address_takes_the_address_of_the_request([Values] bool byOtherName)
    {
        await StartAsync();
        var host = byOtherName ? "other.example.com" : api!.Address.Authority;

        var answer = await SendAsync($"DPoP {Token}", Proof(Token).With("htu", $"http://{host}/invoices").Signed(), host);

        Assert.That((answer.Status, answer.Body), Is.EqualTo((200, "The invoices, for billing")));
    }

    [TestCase("https://api.example.com/invoices", true)]
    [TestCase("https://gateway.example.com/billing/invoices", true)]
    [TestCase("https://gateway.example.com/invoices", false)]
    [TestCase("https://api.example.com/billing/invoices", false)]
    [TestCase("http://other.example.com/invoices", false)]
    [Rfc(9449, "4.3j")]
    public async Task An_API_with_public_addresses_takes_no_other(string htu, bool isServed)
    {
        await StartAsync("--Dpop:PublicAddress=https://api.example.com https://gateway.example.com/billing/");

        var answer = await SendAsync($"DPoP {Token}", Proof(Token).With("htu", htu).Signed(), host: "other.example.com");

        if (isServed)
            Assert.That((answer.Status, answer.Body), Is.EqualTo((200, "The invoices, for billing")));
        else
            IsChallenged(answer, 401, "DPoP error=\"invalid_dpop_proof\", "
                + "error_description=\"htu of the DPoP proof is not the address of the request.\", "
                + $"algs=\"ES256 ES384 PS256\", {Metadata}, Bearer {Metadata}");
    }

    [Test, Rfc(9449, "9")]
    public async Task An_API_with_a_key_for_nonces_demands_them()
    {
        await StartAsync("--Dpop:PublicAddress=https://api.example.com", $"--Dpop:NonceKey={Convert.ToBase64String(new byte[32])}");

        var first = await SendAsync($"DPoP {Token}", Proof(Token).Signed());
        var nonce = first.Headers["DPoP-Nonce"];
        var second = await SendAsync($"DPoP {Token}", Proof(Token).With("nonce", nonce).Signed());

        using (Assert.EnterMultipleScope())
        {
            IsChallenged(first, 401, "DPoP error=\"use_dpop_nonce\", error_description=\"The DPoP proof needs the nonce in DPoP-Nonce.\", "
                + $"algs=\"ES256 ES384 PS256\", {Metadata}, Bearer {Metadata}", nonce);
            Assert.That((second.Status, second.Headers.ContainsKey("DPoP-Nonce")), Is.EqualTo((200, true)));
        }
    }

    [TestCase("Dpop:Algorithms must list", "--Dpop:Algorithms=RS256")]
    [TestCase("Dpop:Algorithms must list", "--Dpop:Algorithms= ")]
    [TestCase("Dpop:PublicAddress must list", "--Dpop:PublicAddress=api.example.com")]
    [TestCase("Dpop:PublicAddress must list", "--Dpop:PublicAddress=https://api.example.com/?a=b")]
    [TestCase("Dpop:NonceKey must be", "--Dpop:NonceKey=dG9vIHNob3J0")]
    [TestCase("Dpop:NonceKey must be", "--Dpop:NonceKey=!")]
    [TestCase("Dpop:MaxRememberedProofs must be", "--Dpop:MaxRememberedProofs=0")]
    public async Task The_API_does_not_start_with_a_wrong_setting(string why, string setting)
    {
        string[] settings = ["--urls=http://127.0.0.1:0", $"--Authority={Authority}", $"--Audience={Audience}", setting];

        var ended = await Tool.RunAsync("dotnet", [Path.Combine(AppContext.BaseDirectory, "Examples.Api.dll"), .. settings]);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(ended.ExitCode, Is.Not.Zero);
            Assert.That(ended.Output + ended.Error, Does.Contain(why));
        }
    }

    private string Authority => Server.Address.GetLeftPart(UriPartial.Authority);

    private async Task StartAsync(params string[] settings) => api = await ExampleApi.StartAsync(Authority, Audience, settings);

    private ApiDpopProof Proof(string token) => new(Key, $"{Audience}/invoices", token, DateTimeOffset.UtcNow);

    private async Task<Answer> SendAsync(string? authorization = null, string? proof = null, string? host = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/invoices");
        request.Headers.Host = host;
        if (authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        if (proof is not null)
            request.Headers.Add("DPoP", proof);
        return await api!.SendAsync(request);
    }

    private async Task<Answer> GetAsync(string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        return await api!.SendAsync(request);
    }

    private async Task IsMetadataAsync(string path, string document)
    {
        var answer = await GetAsync(path);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((answer.Status, answer.Headers["Content-Type"]), Is.EqualTo((200, "application/json")));
            Assert.That(answer.Body, Is.EqualTo(document.ReplaceLineEndings("")));
        }
    }

    private string Document(string resource, string algorithms) => $$"""
        {"resource":"{{resource}}","authorization_servers":["{{Authority}}"],
        "bearer_methods_supported":["header"],"scopes_supported":["invoices:read","invoices:write"],
        "dpop_signing_alg_values_supported":[{{algorithms}}]}
        """;
}
