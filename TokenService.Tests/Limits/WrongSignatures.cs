using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>
/// Wrong signatures are counted for a client and an address, and over the limit of three the next assertion is refused
/// before it is verified. Nobody can lock a client out from where it works.
/// </summary>
[TestFixture, Rfc(7523, "3f")]
public sealed class WrongSignatures
{
    private readonly TestKey stranger = TestKey.Create();
    private Database database = null!;
    private TestServer server = null!;
    private int number;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        server = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton<IStartupFilter, PeerFilter>(),
            "Limits:FailuresPerClient=3", "Proxies:0=127.0.0.1");
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [Test]
    public async Task Over_the_limit_an_assertion_gets_429_until_time_has_passed()
    {
        var (id, key) = await CreateAsync();
        await FailAsync(id, "192.0.2.1");

        IsTooMany(await SendAsync(id, key, "192.0.2.1"), seconds: 20);
        (await SendAsync(id, key, "192.0.2.2")).IsGrant();

        server.Clock.Advance(TimeSpan.FromSeconds(20));
        (await SendAsync(id, key, "192.0.2.1")).IsGrant();
    }

    [Test]
    public async Task A_client_is_not_refused_where_it_has_authenticated_in_the_last_ten_minutes()
    {
        var (id, key) = await CreateAsync();
        (await SendAsync(id, key, "192.0.2.1")).IsGrant();
        await FailAsync(id, "192.0.2.1");

        (await SendAsync(id, key, "192.0.2.1")).IsGrant();
        (await SendAsync(id, stranger, "192.0.2.1")).IsInvalidClient();

        server.Clock.Advance(TimeSpan.FromMinutes(10));
        await FailAsync(id, "192.0.2.1");
        IsTooMany(await SendAsync(id, key, "192.0.2.1"), seconds: 20);
    }

    [Test]
    public async Task Only_signatures_that_were_verified_are_counted()
    {
        var (id, key) = await CreateAsync();
        for (var i = 0; i < 5; i++)
        {
            (await SendAsync(SignedJwt.Assertion(server, id, key, "unknown"), "192.0.2.1")).IsInvalidClient();
            (await SendAsync(SignedJwt.Assertion(server, id, key).WithClaim("aud", "other"), "192.0.2.1")).IsInvalidClient();
            (await SendAsync(SignedJwt.Assertion(server, id, key).WithHeader("alg", "HS256"), "192.0.2.1")).IsInvalidClient();
        }

        (await SendAsync(id, key, "192.0.2.1")).IsGrant();
    }

    private async Task<(string Id, TestKey Key)> CreateAsync()
    {
        var id = $"client-{++number}";
        return (id, await database.CreateKeyClientAsync(id));
    }

    private async Task FailAsync(string id, string address)
    {
        for (var i = 0; i < 3; i++)
            (await SendAsync(id, stranger, address)).IsInvalidClient();
    }

    private Task<Answer> SendAsync(string id, TestKey key, string address) => SendAsync(SignedJwt.Assertion(server, id, key), address);

    private Task<Answer> SendAsync(SignedJwt assertion, string address) =>
        TokenRequestBuilder.ByAssertion(assertion.Signed()).WithHeader("X-Forwarded-For", address).SendAsync(server);

    private static void IsTooMany(Answer answer, int seconds) => answer.IsError(
        429, "temporarily_unavailable", "Too many failed attempts. Retry-After says when to ask again.", ("Retry-After", $"{seconds}"));
}
