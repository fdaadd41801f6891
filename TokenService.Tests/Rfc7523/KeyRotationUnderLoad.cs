using System.Collections.Concurrent;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7523;

/// <summary>
/// Ten busy clients of two servers get new keys, and the servers get a new signing key, and no request is refused. The
/// clients sign an assertion and a DPoP proof for each request.
/// </summary>
[TestFixture, Rfc(7523, "3t")]
public sealed class KeyRotationUnderLoad
{
    private const int ClientCount = 10;

    private static readonly TimeSpan Step = TimeSpan.FromSeconds(20);

    // The time moves between requests only: a request that took several steps would wait for the database for too long.
    private readonly SemaphoreSlim requests = new(ClientCount);

    [OneTimeTearDown]
    public void Dispose() => requests.Dispose();

    [Test, CancelAfter(120_000)]
    public async Task No_request_is_refused_while_the_keys_of_clients_and_the_signing_key_are_rotated()
    {
        await using var database = await Database.CreateAsync();
        var clock = new FakeClock();
        await using var first = await TestServer.StartAsync(database.ConnectionString, clock);
        await using var second = await TestServer.StartAsync(database.ConnectionString, clock);
        TestServer[] servers = [first, second];
        var clients = new List<RotatingClient>();
        for (var i = 0; i < ClientCount; i++)
            clients.Add(new RotatingClient($"client-{i}", await database.CreateKeyClientAsync($"client-{i}"), servers, requests));

        await database.SetInstantAsync(clock.GetUtcNow());
        foreach (var server in servers)
            await server.IsListeningAsync();
        using var over = new CancellationTokenSource();
        var asking = Task.WhenAll(clients.Select(client => client.AskAsync(over.Token)));
        await RotateClientsAsync(database, clients);
        await database.ExecuteAsync("select token_service.rotate_signing_key()");
        await Soon.IsAsync("another key signs", async () =>
        {
            for (var i = 0; i < ClientCount; i++)
                await requests.WaitAsync();
            clock.Advance(Step);
            requests.Release(ClientCount);
            foreach (var server in servers)
                await server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);
            return clients.All(client => client.SigningKeys.Count > 1);
        });
        await over.CancelAsync();
        await asking;

        using (Assert.EnterMultipleScope())
        {
            Assert.That(clients.SelectMany(client => client.Refusals), Is.Empty);
            Assert.That(clients.Select(client => client.GrantsWithNewKey), Is.All.GreaterThan(0));
        }
    }

    private static async Task RotateClientsAsync(Database database, IEnumerable<RotatingClient> clients)
    {
        foreach (var client in clients)
        {
            var key = TestKey.Create("PS256");
            await database.ExecuteAsync(
                "select token_service.rotate_key(@id, @jwk::jsonb, p_kid => 'k2', p_alg => 'PS256', p_overlap => '1 day')",
                new { id = client.Id, jwk = key.Jwk.ToJsonString() });
            client.UseNewKey(key);
        }
    }

    private sealed class RotatingClient(string id, TestKey old, TestServer[] servers, SemaphoreSlim requests)
    {
        private readonly TestKey proofKey = TestKey.Create();
        private volatile TestKey? renewed;
        private int turn;

        public string Id => id;

        public int GrantsWithNewKey { get; private set; }

        public ConcurrentQueue<string> Refusals { get; } = [];

        /// <summary>The kid of each key that signed a token of this client.</summary>
        public ConcurrentDictionary<string, bool> SigningKeys { get; } = new(StringComparer.Ordinal);

        public void UseNewKey(TestKey key) => renewed = key;

        public async Task AskAsync(CancellationToken over)
        {
            while (!over.IsCancellationRequested)
            {
                await requests.WaitAsync(CancellationToken.None);
                await AskAsync(servers[turn++ % servers.Length]);
                requests.Release();
            }
        }

        private async Task AskAsync(TestServer server)
        {
            var isNew = renewed is not null;
            var assertion = SignedJwt.Assertion(server, id, renewed ?? old, isNew ? "k2" : "k1").Signed();
            var answer = await TokenRequestBuilder.ByAssertion(assertion)
                .WithHeader("DPoP", SignedJwt.Proof(server, proofKey).Signed()).SendAsync(server);
            if (answer.Status != 200)
            {
                Refusals.Enqueue($"{id}: {answer.Body}");
                return;
            }

            SigningKeys[answer.Token.Kid] = true;
            GrantsWithNewKey += isNew ? 1 : 0;
        }
    }
}
