using Microsoft.Extensions.DependencyInjection;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

[TestFixture]
public sealed class WhenTheHashingQueueIsFull
{
    [Test]
    public async Task A_token_request_is_answered_503_with_Retry_After()
    {
        await using var database = await Database.CreateAsync();
        var client = await database.CreateClientAsync("billing");
        var clock = new FakeClock();
        // Without a thread the one secret stays in the queue.
        await using var server = await TestServer.StartAsync(
            database.ConnectionString, clock,
            services => services.AddSingleton(
                _ => new HashingQueue(Run.Hasher, new HashingOptions { QueueLength = 1 }, threadCount: 0, clock)));
        var digest = new Argon2Digest(Database.Cheap, new byte[Argon2Digest.SaltLength], new byte[Argon2Digest.HashLength]);
        _ = server.Services.GetRequiredService<HashingQueue>().MatchesAsync("x", digest, HashingPriority.KnownSecret);

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "1"));
    }
}
