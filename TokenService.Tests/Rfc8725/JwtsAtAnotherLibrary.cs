using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8725;

/// <summary>Another library validates every kind of JWT that the server makes, in every algorithm.</summary>
[TestFixture("ES256"), TestFixture("ES384"), TestFixture("RS256"), TestFixture("PS256")]
[Rfc(8725, "3.1"), Rfc(8725, "3.11"), Rfc(7515, "5.2")]
public sealed class JwtsAtAnotherLibrary(string algorithm) : IntrospectionFixture
{
    private const string Legacy = "https://legacy.example.com";

    private static readonly string[] Types = ["at+jwt", "JWT", "token-introspection+jwt", "revoked-tokens+jwt"];

    private TestClient legacy = null!;

    private protected override string[] Settings => [$"Keys:Algorithm={algorithm}", "Keys:RsaKeySize=2048"];

    [OneTimeSetUp]
    public async Task MakeLegacyTypeAndOneRevokedToken()
    {
        legacy = await Database.CreateClientAsync("legacy", "legacy:read", "legacy:read", Legacy);
        await Database.ExecuteAsync("select token_service.create_resource(@Legacy, p_typ => 'JWT')", new { Legacy });
        await Server.HasReceivedNotificationsAsync();
        // The library does not see an empty list.
        (await TokenRequestBuilder.Revoke(Client, await IssueAsync()).SendAsync(Server)).IsDone(contentType: null);
    }

    [TestCaseSource(nameof(Types))]
    public async Task A_JWT_is_valid(string type)
    {
        var made = await MakeAsync(type);

        var result = await ValidateAsync(made, made.Type);

        Assert.That(result.IsValid, Is.True, $"{result.Exception}");
        var read = (JsonWebToken)result.SecurityToken;
        Assert.That((read.Alg, read.Typ, read.Issuer), Is.EqualTo((algorithm, type, TestServer.Issuer)));
        Assert.That(result.Claims.Keys, Is.EquivalentTo(made.Claims));
    }

    // The control: the library looks at the signature of each kind.
    [TestCaseSource(nameof(Types))]
    public async Task A_JWT_with_one_bit_of_its_signature_changed_is_not_valid(string type)
    {
        var made = await MakeAsync(type);

        var result = await ValidateAsync(made with { Jwt = new Forgery(made.Jwt).WithDamagedSignature() }, made.Type);

        Assert.That(result.Exception, Is.InstanceOf<SecurityTokenInvalidSignatureException>());
    }

    [TestCaseSource(nameof(Types))]
    public async Task A_JWT_is_not_valid_where_one_of_another_kind_is_expected(string type)
    {
        var made = await MakeAsync(type);

        foreach (var other in Types.Except([type]))
            Assert.That((await ValidateAsync(made, other)).Exception, Is.TypeOf<SecurityTokenInvalidTypeException>(), other);
    }

    private Task<TokenValidationResult> ValidateAsync(Made made, string type) =>
        SecondOpinion.ValidateAsync(Server, made.Jwt, type, made.Audience, algorithm, made.Claims.Contains("exp"));

    private async Task<Made> MakeAsync(string type)
    {
        string[] accessToken = ["iss", "sub", "client_id", "aud", "scope", "iat", "exp", "jti"];
        return type switch
        {
            "at+jwt" => new(type, await IssueAsync(), Resource, accessToken),
            "JWT" => new(type, await IssueAsync(legacy, "legacy:read"), Legacy, accessToken),
            "token-introspection+jwt" => new(type, await SignedAnswerAsync(), Api.Id, ["iss", "aud", "iat", "token_introspection"]),
            _ => new(
                type, (await Server.GetAsync("/revoked-tokens")).Body, $"{TestServer.Issuer}/revoked-tokens",
                ["iss", "aud", "iat", "exp", "not_before", "revoked"]),
        };
    }

    private async Task<string> SignedAnswerAsync() =>
        (await TokenRequestBuilder.Introspect(Api, await IssueAsync())
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(Server)).Body;

    private sealed record Made(string Type, string Jwt, string Audience, string[] Claims);
}
