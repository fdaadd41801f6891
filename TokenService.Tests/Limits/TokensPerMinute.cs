using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>
/// A client may have a rate limit of tokens per minute, and the refusal says what the client should do.
/// </summary>
[TestFixture]
public sealed class TokensPerMinute : ServerFixture
{
    private int number;
    private TestClient client = null!;

    [SetUp]
    public async Task CreateClient()
    {
        // The previous test may have moved the clock so far that a heartbeat was late and the next is not yet due.
        await Server.IsListeningAsync(() => Server.Clock.Advance(TimeSpan.FromSeconds(0.1)));
        client = await Database.CreateClientAsync($"client-{++number}");
    }

    [Test]
    public async Task A_client_gets_its_tokens_per_minute_at_once_and_then_one_with_each_part_of_a_minute()
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
    public async Task The_rate_limit_of_one_client_does_not_affect_another_client()
    {
        await LimitAsync(1);
        await IsGrantedAsync(1);
        await IsRefusedAsync(seconds: 60);
        for (var i = 0; i < 5; i++)
            (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_refused_request_does_not_count()
    {
        await LimitAsync(1);
        (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(Server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");
        (await TokenRequestBuilder.For(client with { Secret = GeneratedSecret.Create().Value }).SendAsync(Server)).IsInvalidClient();
        await IsGrantedAsync(1);
    }

    // A stranger can neither learn of the rate limit nor use it up.
    [Test]
    public async Task A_caller_that_fails_to_authenticate_gets_the_usual_refusal()
    {
        await LimitAsync(1);
        await IsGrantedAsync(1);
        (await TokenRequestBuilder.For(client with { Secret = GeneratedSecret.Create().Value }).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task A_changed_or_removed_rate_limit_is_obeyed()
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
