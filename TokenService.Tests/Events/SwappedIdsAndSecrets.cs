using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>
/// A caller that sends its secret as client_id must not find it in the event log. An id that no client has is left out
/// when it looks like a secret.
/// </summary>
[TestFixture]
public sealed class SwappedIdsAndSecrets : ServerFixture
{
    private const string Detail = "the id and the secret look swapped, so the id is not shown";

    private protected override string[] Settings => ["Proxies:0=127.0.0.1"];

    [TestCase("zq8Nf2LwPx0aRt5Yb7Kc", "billing-service", Description = "Letters in both cases, and digits.")]
    [TestCase("9f86d081884c7d659a2feaa0c55ad015", "billing-service", Description = "Hexadecimal.")]
    [TestCase("a-passphrase-of-words", "a-passphrase-of-words", Description = "The same twice.")]
    [TestCase("word-word", "billing", Description = "The id of a known client as its secret.")]
    [TestCase("a-passphrase-of-words", "not-in-the-cache", Description = "A long id, and a secret like an id.")]
    [TestCase("pa$$word!", "billing-service", Description = "Characters that ids have not.")]
    [TestCase("pass@word", "https://billing.example.com", Description = "Not a simple id, and a secret like an id.")]
    [TestCase("a8Q~Zk3nT.vRwX7pLmYq", "billing-service", Description = "A secret of another system.")]
    [TestCase("postgres://app:S3cretPassw0rd@db.internal/app", "Ab3dEf6hIj9kLmN0pQrS", Description = "A URL with a password.")]
    [TestCase("kx29/qmz7w0~ptr4ssl8", "Ab3dEf6hIj9kLmN0pQrS", Description = "No address, and a random secret.")]
    [TestCase("abc{def@ghi123jkl", "9f86d081884c7d659a2feaa0c55ad015")]
    [TestCase("https://hooks.example.com/9f86d081884c7d659a2feaa0c55ad015", "Ab3dEf6hIj9kLmN0pQrS", Description = "A random part.")]
    public async Task An_unknown_id_that_looks_like_a_secret_is_not_logged(string id, string secret)
    {
        await IsKnownAsync();
        var line = await LineAsync(new TestClient(id, secret));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(line.TryGetProperty("client_id", out _), Is.False);
            Assert.That(line.GetProperty("detail").GetString(), Is.EqualTo(Detail));
            Assert.That(line.GetProperty("reason").GetString(), Is.EqualTo("unknown_client"));
            Assert.That(string.Join('\n', Server.Events.Lines), Does.Not.Contain(id));
            Assert.That(string.Join('\n', Server.Log.Lines), Does.Not.Contain(id));
        }
    }

    [TestCase("billing-service-2026-eu1")]
    [TestCase("0f8fad5b-d9cb-469f-a165-70867728950e")]
    [TestCase("JqFkzP7aB2")]
    [TestCase("https://App1.example.com/saml")]
    [TestCase("system:serviceaccount:payments:api1")]
    [TestCase("api://0f8fad5b-d9cb-469f-a165-70867728950e")]
    [TestCase("urn:clients:billing1")]
    [TestCase("billing1@example.com")]
    public async Task An_unknown_id_that_looks_like_an_id_is_logged(string id)
    {
        var line = await LineAsync(new TestClient(id, "a guess at a secret"));
        Assert.That((line.GetProperty("client_id").GetString(), line.TryGetProperty("detail", out _)), Is.EqualTo((id, false)));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task The_id_of_a_client_is_logged_whatever_it_looks_like(bool isRight)
    {
        const string id = "zq8Nf2LwPx0aRt5Yb7Kd";
        var client = await Database.CreateClientAsync($"{id}{isRight}");
        var line = await LineAsync(isRight ? client : client with { Secret = "a guess" });
        Assert.That((line.GetProperty("client_id").GetString(), line.TryGetProperty("detail", out _)), Is.EqualTo((client.Id, false)));
    }

    // The notification of the change removes the client from the cache.
    [Test]
    public async Task The_id_of_a_client_that_changes_while_its_secret_is_hashed_is_logged()
    {
        using var hashing = new HashingGate();
        await using var server = await TestServer.StartAsync(
            Database.ConnectionString, new FakeClock(), services => services.AddSingleton(_ => hashing.NewThreads()));
        var client = await Database.CreateClientAsync("zq8Nf2LwPx0aRt5Yb7Ke");
        hashing.Close();
        Answer answer;
        try
        {
            var answering = TokenRequestBuilder.For(client with { Secret = "a guess" }).SendAsync(server);
            await hashing.HoldsAsync();
            await Database.ExecuteAsync("update token_service.client set name = 'changed' where id = @Id", client);
            await server.HasReceivedNotificationsAsync();
            hashing.Open();
            answer = await answering;
        }
        finally
        {
            hashing.Open();
        }

        var line = await server.Events.OfAsync(answer.EventId);
        Assert.That((line.GetProperty("client_id").GetString(), line.TryGetProperty("detail", out _)), Is.EqualTo((client.Id, false)));
    }

    // A socket for both protocols gives IPv4 addresses as IPv6.
    [TestCase("::ffff:203.0.113.9", "203.0.113.9")]
    [TestCase("fe80::1", "fe80::1")]
    public async Task An_address_has_one_form(string address, string expected)
    {
        var answer = await TokenRequestBuilder.For(Client).WithHeader("X-Forwarded-For", address).SendAsync(Server);
        var line = await Server.Events.OfAsync(answer.EventId);
        Assert.That(line.GetProperty("source").GetString(), Is.EqualTo(expected));
    }

    private async Task IsKnownAsync() => (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");

    private async Task<System.Text.Json.JsonElement> LineAsync(TestClient client) =>
        await Server.Events.OfAsync((await TokenRequestBuilder.For(client).SendAsync(Server)).EventId);
}
