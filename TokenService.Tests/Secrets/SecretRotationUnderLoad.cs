using System.Collections.Concurrent;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Secrets;
using TokenService.Tests.Harness;
using TokenService.Usage;

namespace TokenService.Tests.Secrets;

/// <summary>The secrets of twenty busy clients of two servers are rotated, and no request is refused.</summary>
[TestFixture]
public sealed class SecretRotationUnderLoad
{
    private const int ClientCount = 20;
    private const int RequestsDuringOverlap = 3;
    private const int RequestsAfter = 5;

    [Test]
    public async Task No_client_is_refused_during_rotation_and_the_old_secrets_are_reported_and_retired()
    {
        await using var database = await Database.CreateAsync();
        await using var first = await TestServer.StartAsync(database);
        await using var second = await TestServer.StartAsync(database);
        TestServer[] servers = [first, second];
        var clients = new List<RotatingClient>();
        for (var i = 0; i < ClientCount; i++)
            clients.Add(new RotatingClient(await database.CreateClientAsync($"client-{i:00}"), servers));

        // Each secret is rotated while all clients send requests. A client uses the old secret until it is given the
        // new one.
        var asking = Task.WhenAll(clients.Select(client => client.AskAsync()));
        await Parallel.ForEachAsync(clients, new ParallelOptions { MaxDegreeOfParallelism = 4 },
            async (client, _) => client.UseNewSecret(await RotateAsync(database, client.Old)));
        await asking;
        Assert.That(clients.SelectMany(client => client.Refusals), Is.Empty);

        await WriteUsesAsync(servers);
        var old = clients.Select(client => IdOf(client.Old.Secret)).Order(StringComparer.Ordinal);
        // Two hours later every secret has been idle for more than an hour, but only the old secrets have a newer
        // sibling.
        await database.SetInstantAsync("now() + interval '2 hours'");
        Assert.That(
            await ReadAsync(database, "credential_id", "credentials_report(p_idle => '1 hour') where findings like 'safe to retire%'"),
            Is.EqualTo(old));
        Assert.That(await ReadAsync(database, "secret_id", "retire_unused_secrets('1 hour', false)"), Is.EqualTo(old));

        foreach (var server in servers)
        {
            server.Clock.Advance(TimeSpan.FromHours(3));
            await server.HasReceivedNotificationsAsync();
            foreach (var client in clients)
            {
                (await TokenRequestBuilder.For(client.Old).SendAsync(server)).IsInvalidClient();
                (await TokenRequestBuilder.For(client.New).SendAsync(server)).IsGrant("invoices:read");
            }
        }
    }

    private static async Task<TestClient> RotateAsync(Database database, TestClient client)
    {
        var secret = GeneratedSecret.Create();
        var psql = await Psql.ScriptAsync(database, "rotate-secret.sql",
            [$"client_id={client.Id}", "overlap=24 hours", $"secret_id={secret.Selector}", $"digest={Database.Digest(secret.Value)}"]);
        Assert.That((psql.ExitCode, psql.Error), Is.EqualTo((0, "")));
        return client with { Secret = secret.Value };
    }

    private static async Task WriteUsesAsync(TestServer[] servers)
    {
        foreach (var server in servers)
        {
            await Soon.IsAsync("all uses are written", () =>
            {
                server.Clock.Advance(TimeSpan.FromSeconds(30));
                return server.Services.GetRequiredService<UsageCounters>().Read().IsEmpty;
            });
        }
    }

    private static async Task<IEnumerable<string>> ReadAsync(Database database, string column, string function)
    {
        await using var connection = await database.Source.OpenConnectionAsync();
        return (await connection.QueryAsync<string>($"select {column} from token_service.{function}")).Order(StringComparer.Ordinal);
    }

    private static string IdOf(string secret) =>
        GeneratedSecret.TryParse(secret, out var generated) ? generated.Selector : throw new InvalidOperationException();

    /// <summary>
    /// Sends token requests to the servers in turn, with the old secret until it is given a new one, then a few with
    /// the new one.
    /// </summary>
    private sealed class RotatingClient(TestClient old, TestServer[] servers)
    {
        private readonly TaskCompletionSource<TestClient> given = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int turn;

        public TestClient Old => old;

        public TestClient New => given.Task.Result;

        public ConcurrentQueue<string> Refusals { get; } = [];

        public void UseNewSecret(TestClient rotated) => given.SetResult(rotated);

        public async Task AskAsync()
        {
            while (!given.Task.IsCompleted)
                await AskAsync(old);
            for (var i = 0; i < RequestsDuringOverlap; i++)
                await AskAsync(old);
            for (var i = 0; i < RequestsAfter; i++)
                await AskAsync(New);
        }

        private async Task AskAsync(TestClient with)
        {
            var answer = await TokenRequestBuilder.For(with).SendAsync(servers[turn++ % servers.Length]);
            if (answer.Status != 200)
                Refusals.Enqueue($"{with.Id}: {answer.Body}");
        }
    }
}
