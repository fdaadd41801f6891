using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>
/// A key is published until the longest token that it signed has expired. Its private half is destroyed an hour later.
/// </summary>
[TestFixture]
public sealed class EndOfAKey
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private Database database = null!;
    private TestClient client = null!;
    private TestServer server = null!;

    private SigningKey FirstKey => server.Services.GetRequiredService<SigningKeys>().Ring.Keys[0];

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        // The server destroys a private key only when the database's clock agrees, so this test runs in the past.
        await database.ExecuteAsync("update token_service.client_secret set not_before = not_before - interval '90 days'");
        server = await TestServer.StartAsync(database.ConnectionString, new FakeClock(TimeSpan.FromDays(-90)));
    }

    [TearDown]
    public async Task StopServer()
    {
        await server.DisposeAsync();
        await database.DisposeAsync();
    }

    [Test]
    public async Task The_longest_token_lifetime_of_a_key_is_raised_only_before_a_longer_token_is_issued()
    {
        var kid = FirstKey.Kid;
        await IssueAsync();
        Assert.That(await ReadAsync<int>("max_token_lifetime_seconds", kid), Is.EqualTo(600));

        var version = await ReadAsync<string>("xmin", kid);
        for (var i = 0; i < 20; i++)
            await IssueAsync();
        Assert.That(
            await ReadAsync<string>("xmin", kid), Is.EqualTo(version), "issuing a token does not write to the row");

        await SetTokenLifetimeAsync(seconds: 300);
        await IssueAsync();
        Assert.That(
            await ReadAsync<string>("xmin", kid), Is.EqualTo(version), "a shorter token does not write to the row");

        // A server that cannot raise the longest lifetime issues no token that would need it.
        await SetTokenLifetimeAsync(seconds: 3600);
        await database.ExecuteAsync(
            "alter table token_service.signing_key add constraint held check (max_token_lifetime_seconds <= 600)");
        Assert.That((await TokenRequestBuilder.For(client).SendAsync(server)).Status, Is.EqualTo(500));
        await database.ExecuteAsync("alter table token_service.signing_key drop constraint held");
        await IssueAsync();
        Assert.That(await ReadAsync<int>("max_token_lifetime_seconds", kid), Is.EqualTo(3600));
    }

    [Test]
    public async Task A_key_is_published_until_its_longest_token_has_expired_and_its_private_half_lives_an_hour_longer()
    {
        var key = FirstKey;
        await MoveToAsync(key.SignsUntil!.Value - Second);
        await SetTokenLifetimeAsync(seconds: 86400);
        var token = await IssueAsync();
        Assert.That(token.Kid, Is.EqualTo(key.Kid));

        await MoveToAsync(token.ValidTo);
        var published = (await PublishedKey.ReadAllAsync(server)).Single(published => published.Kid == key.Kid);
        Assert.That(published.Verifies(token.EncodedToken));

        var goneAfter = key.SignsUntil.Value + TimeSpan.FromDays(1) + TimeSpan.FromMinutes(15);
        await MoveToAsync(goneAfter - Second);
        Assert.That(await PublishedKidsAsync(), Does.Contain(key.Kid));
        await MoveToAsync(goneAfter);
        Assert.That(await PublishedKidsAsync(), Does.Not.Contain(key.Kid));

        await MoveToAsync(goneAfter + TimeSpan.FromHours(1));
        Assert.That(await ReadAsync<bool>("sealed_private_key is null", key.Kid), Is.False);
        await MoveToAsync(goneAfter + TimeSpan.FromHours(1) + Second);
        Assert.That(await ReadAsync<bool>("sealed_private_key is null", key.Kid), Is.True);
        Assert.That(
            await database.ReadAsync<int>("select count(*) from token_service.signing_key where sealed_private_key is null"),
            Is.EqualTo(1), "the successors keep their private halves");
    }

    [Test]
    public async Task A_server_whose_clock_is_ahead_of_the_database_destroys_no_private_key()
    {
        // The server is stopped first: it would make keys at once.
        await server.DisposeAsync();
        await database.ExecuteAsync("delete from token_service.signing_key");
        server = await TestServer.StartAsync(database);

        var key = FirstKey;
        await MoveToAsync(key.SignsUntil!.Value);
        await MoveToAsync(key.GoneAfter!.Value + TimeSpan.FromHours(2));

        Assert.That(await PublishedKidsAsync(), Does.Not.Contain(key.Kid));
        Assert.That(await ReadAsync<bool>("sealed_private_key is null", key.Kid), Is.False);
    }

    private async Task<JsonWebToken> IssueAsync()
    {
        var answer = await TokenRequestBuilder.For(client).SendAsync(server);
        Assert.That(answer.Status, Is.EqualTo(200), answer.Body);
        return answer.Token;
    }

    private async Task SetTokenLifetimeAsync(int seconds)
    {
        await database.ExecuteAsync("update token_service.client set token_lifetime_seconds = @seconds", new { seconds });
        await server.HasReceivedNotificationsAsync();
    }

    private async Task MoveToAsync(DateTimeOffset instant)
    {
        server.Clock.Advance(instant - server.Clock.GetUtcNow());
        await server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);
    }

    private async Task<IEnumerable<string>> PublishedKidsAsync() =>
        (await PublishedKey.ReadAllAsync(server)).Select(key => key.Kid);

    private Task<T?> ReadAsync<T>(string column, string kid) =>
        database.ReadAsync<T>($"select {column} from token_service.signing_key where kid = @kid", new { kid });
}
