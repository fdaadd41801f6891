using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>A client may have a ceiling of tokens per minute, and is told what to do about it.</summary>
[TestFixture]
public sealed class TokensPerMinute : ServerFixture
{
    private int number;
    private TestClient client = null!;

    [SetUp]
    public async Task CreateClient()
    {
        // The test before may have moved the clock so far that a heartbeat was late, and the next is not due.
        await Server.IsListeningAsync(() => Server.Clock.Advance(TimeSpan.FromSeconds(0.1)));
        client = await Database.CreateClientAsync($"client-{++number}");
    }

    [Test]
    public async Task So_many_are_given_at_once_and_then_one_with_each_part_of_a_minute()
    {
        await LimitAsync(2);
        await IsGrantedAsync(2);
        await IsRefusedAsync(seconds: 30);

        Server.Clock.Advance(TimeSpan.FromSeconds(29.5));
        await IsRefusedAsync(seconds: 1);
        Server.Clock.Advance(TimeSpan.FromSeconds(0.5));
        await IsGrantedAsync(1);
        await IsRefusedAsync(seconds: 30);

        Server.Clock.Advance(TimeSpan.FromMinutes(10));
        await IsGrantedAsync(2);
        await IsRefusedAsync(seconds: 30);
    }

    [Test]
    public async Task Others_are_not_concerned()
    {
        await LimitAsync(1);
        await IsGrantedAsync(1);
        await IsRefusedAsync(seconds: 60);
        for (var i = 0; i < 5; i++)
            (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task What_gets_no_token_does_not_count()
    {
        await LimitAsync(1);
        (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(Server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");
        (await TokenRequestBuilder.For(client with { Secret = GeneratedSecret.Create().Value }).SendAsync(Server)).IsInvalidClient();
        await IsGrantedAsync(1);
    }

    // A stranger learns nothing of it, nor can he use it up.
    [Test]
    public async Task Who_is_not_the_client_is_refused_as_ever()
    {
        await LimitAsync(1);
        await IsGrantedAsync(1);
        (await TokenRequestBuilder.For(client with { Secret = GeneratedSecret.Create().Value }).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task A_ceiling_that_is_changed_or_taken_away_is_obeyed()
    {
        await IsGrantedAsync(3);
        await LimitAsync(1);
        await IsGrantedAsync(1);
        await IsRefusedAsync(seconds: 60);
        await LimitAsync(3);
        await IsGrantedAsync(3);
        await IsRefusedAsync(seconds: 20);
        await LimitAsync(0);
        await IsGrantedAsync(5);
    }

    private async Task LimitAsync(int tokensPerMinute)
    {
        await Database.ExecuteAsync(
            "select token_service.update_client(@Id, p_tokens_per_minute => @tokensPerMinute)", new { client.Id, tokensPerMinute });
        await Server.HasReceivedNotificationsAsync();
    }

    private async Task IsGrantedAsync(int times)
    {
        for (var i = 0; i < times; i++)
            (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("invoices:read");
    }

    private async Task IsRefusedAsync(int seconds) => (await TokenRequestBuilder.For(client).SendAsync(Server)).IsError(
        429, "temporarily_unavailable", "This client asks for tokens too often. Keep each token until shortly before it expires.",
        ("Retry-After", $"{seconds}"));
}
