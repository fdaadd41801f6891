using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Postgres;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Outages;

/// <summary>
/// The promises for a database that is unavailable, whether its connections break or it accepts them and never answers:
/// known clients are served from memory up to a stated age, other clients are refused, and the server grants nothing
/// that the database had not granted.
/// </summary>
[TestFixture]
public sealed class WhileTheDatabaseIsUnavailable
{
    private const string Imported = "a secret of another system";

    private static readonly TimeSpan ServeWhileAway = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private DateTimeOffset outageStart;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        await database.AddSecretAsync("billing", Imported);
        wire = new DatabaseProxy(database);
        await StartServerAsync();
    }

    [TearDown]
    public async Task StopServer()
    {
        wire.Cut();
        wire.Speak();
        await server.DisposeAsync();
        wire.Dispose();
        await database.DisposeAsync();
    }

    [Test]
    public async Task A_known_client_is_served_up_to_the_stated_age([Values] Outage outage)
    {
        await StartOutageAsync(outage);
        await IsServedAsync(client);
        server.Clock.Advance(ServeWhileAway - OutageDuration - Instant);
        await IsServedAsync(client);
        await IsServedAsync(client);

        // The refusal comes at once, although the clock stands still: the server asked the database an instant ago.
        server.Clock.Advance(Instant);
        IsUnavailable(await SendAsync(client));
        IsUnavailable(await SendAsync(client));
    }

    [Test]
    public async Task A_known_client_is_refused_at_once_when_the_stated_age_is_zero([Values] Outage outage)
    {
        await server.DisposeAsync();
        await StartServerAsync("Clients:ServeWhileAway=00:00:00");
        await StartOutageAsync(outage);
        await IsUnavailableAsync(client);
    }

    [Test]
    public async Task A_client_that_is_not_known_is_refused_at_once([Values] Outage outage)
    {
        var other = await database.CreateClientAsync("never-read");
        await StartOutageAsync(outage);
        await IsUnavailableAsync(other);
        await IsUnavailableAsync(client with { Id = "unknown" });
        await IsUnavailableAsync(client with { Id = "unknown", Secret = Imported });
        await IsServedAsync(client);
    }

    [Test]
    public async Task The_server_grants_nothing_that_the_database_had_not_granted([Values] Outage outage)
    {
        var disabled = await database.CreateClientAsync("disabled");
        await database.ExecuteAsync("select token_service.set_client_enabled('disabled', false)");
        // A notification that arrived later would remove the client from the cache.
        await server.HasReceivedNotificationsAsync();
        (await SendAsync(disabled)).IsInvalidClient();
        await StartOutageAsync(outage);
        await IsServedAsync(client);

        // An unknown client gets the same, so a caller does not learn which clients exist.
        IsUnavailable(await SendAsync(disabled));
        IsUnavailable(await SendAsync(client with { Secret = GeneratedSecret.Create().Value }));
        IsUnavailable(await SendAsync(client with { Secret = Imported + "!" }));
        (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");
        // The database had granted this secret, so the server accepts it, although it verifies it for the first time.
        (await TokenRequestBuilder.For(client with { Secret = Imported }).WithScope("invoices:write").SendAsync(server))
            .IsGrant("invoices:write");
    }

    [Test]
    public async Task A_secret_that_expires_during_the_outage_is_refused([Values] Outage outage)
    {
        await database.ExecuteAsync(
            "update token_service.client_secret set expires_at = @at", new { at = server.Clock.GetUtcNow() + TimeSpan.FromMinutes(1) });
        await server.HasReceivedNotificationsAsync();
        await IsServedAsync(client);
        await StartOutageAsync(outage);
        await IsServedAsync(client);
        server.Clock.Advance(TimeSpan.FromMinutes(1) - OutageDuration);
        IsUnavailable(await SendAsync(client));
    }

    [Test]
    public async Task A_client_disabled_during_the_outage_is_refused_after_it([Values] Outage outage)
    {
        await StartOutageAsync(outage);
        await IsServedAsync(client);
        await database.ExecuteAsync("select token_service.set_client_enabled('billing', false)");
        await IsServedAsync(client);

        wire.Mend();
        wire.Speak();
        await server.IsListeningAsync(() => server.Clock.Advance(Second / 10));
        await Soon.IsAsync("the client is refused, and never served again", async () =>
        {
            server.Clock.Advance(Second / 10);
            var answer = await SendAsync(client);
            Assert.That(answer.Status, Is.EqualTo(401).Or.EqualTo(503));
            return answer.Status == 401;
        });
    }

    [Test]
    public async Task Every_client_is_served_after_the_outage_without_a_restart([Values] Outage outage)
    {
        await StartOutageAsync(outage);
        server.Clock.Advance(ServeWhileAway);
        await IsUnavailableAsync(client);
        var made = await database.CreateClientAsync("made-meanwhile");

        wire.Mend();
        wire.Speak();
        await server.IsListeningAsync(() => server.Clock.Advance(Second / 10));
        await Soon.IsAsync("both are served", async () =>
        {
            server.Clock.Advance(Second / 10);
            return (await SendAsync(client)).Status == 200 && (await SendAsync(made)).Status == 200;
        });
    }

    [Test]
    public async Task The_age_of_the_data_that_is_served_is_measured([Values] Outage outage)
    {
        Assert.That(Age(), Is.Zero);
        await StartOutageAsync(outage);
        Assert.That(Age(), Is.EqualTo(OutageDuration.TotalSeconds).And.GreaterThanOrEqualTo(3));
        server.Clock.Advance(TimeSpan.FromSeconds(90));
        Assert.That(Age(), Is.EqualTo(OutageDuration.TotalSeconds).And.GreaterThanOrEqualTo(93));

        wire.Mend();
        wire.Speak();
        await server.IsListeningAsync(() => server.Clock.Advance(Second / 10));
        Assert.That(Age(), Is.Zero);
    }

    [Test]
    public async Task Readiness_reports_the_outage([Values] Outage outage)
    {
        await StartOutageAsync(outage);
        var asking = server.Client.GetAsync("/healthz/ready");
        await Soon.IsAsync("the request is answered", () =>
        {
            server.Clock.Advance(Second);
            return asking.IsCompleted;
        });
        using var answer = await asking;
        Assert.That((int)answer.StatusCode, Is.EqualTo(503));
    }

    // The clock stands still, so a request that waited for the database would wait for ever. A caller that did wait would
    // learn from the time that it names an unknown client.
    [Test]
    public async Task No_request_waits_for_a_database_that_is_known_to_hang()
    {
        await StartOutageAsync(Outage.Hangs);
        await IsServedAsync(client);
        server.Clock.Advance(Second);

        var asking = Enumerable.Range(0, 10).Select(i => SendAsync(client with { Id = $"unknown-{i}" })).ToList();
        for (var i = 0; i < 10; i++)
            (await SendAsync(client)).IsGrant("invoices:read");
        foreach (var answer in await Task.WhenAll(asking))
            IsUnavailable(answer);
    }

    [Test]
    public async Task An_unknown_id_is_cached_until_the_client_is_created()
    {
        var unknown = new TestClient("shipping", "a guess");
        (await SendAsync(unknown)).IsInvalidClient();
        wire.SilenceAll();
        (await SendAsync(unknown)).IsInvalidClient();

        wire.Speak();
        var made = await database.CreateClientAsync("shipping");
        await server.HasReceivedNotificationsAsync();
        (await SendAsync(made)).IsGrant("invoices:read");
    }

    private async Task StartServerAsync(params string[] settings)
    {
        server = await TestServer.StartAsync(
            // A blocked query waits for the test, however slow the test is.
            $"{wire.ConnectionString};Command Timeout=60", new FakeClock(),
            [.. settings, $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}"]);
        await server.IsListeningAsync();
        (await SendAsync(client)).IsGrant("invoices:read");
    }

    /// <summary>How long the database has been unavailable.</summary>
    private TimeSpan OutageDuration => server.Clock.GetUtcNow() - outageStart;

    // Returns when the server knows of the outage. The server learns of it from one request that waits for the longest
    // time allowed.
    private async Task StartOutageAsync(Outage outage)
    {
        outageStart = server.Clock.GetUtcNow();
        if (outage == Outage.Hangs)
            wire.SilenceAll();
        else
            wire.Cut();
        server.Clock.Advance(ChangeNotifications.MaxSilence);
        await Soon.IsAsync(
            "the server does not listen", () => !server.Services.GetRequiredService<ChangeNotifications>().IsListening);
        await IsUnavailableAsync(client with { Id = "the-first" });
    }

    private async Task IsServedAsync(TestClient client) => (await SendAsync(client)).IsGrant("invoices:read");

    // A request that needs the database waits for it for one second of the server's clock.
    private async Task IsUnavailableAsync(TestClient client)
    {
        var answering = SendAsync(client);
        await Soon.IsAsync("the request is answered", () =>
        {
            if (!answering.IsCompleted)
                server.Clock.Advance(Second / 10);
            return answering.IsCompleted;
        });
        IsUnavailable(await answering);
    }

    private static void IsUnavailable(Answer answer) => answer.IsError(
        503, "temporarily_unavailable",
            "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));

    private Task<Answer> SendAsync(TestClient client) => TokenRequestBuilder.For(client).SendAsync(server);

    private double Age()
    {
        double? age = null;
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                // A test run has many servers; the scope is this server's.
                if (instrument.Name == "token_service.clients.age"
                    && instrument.Meter.Scope == server.Services.GetRequiredService<IMeterFactory>())
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<double>((_, value, _, _) => age = value);
        listener.Start();
        listener.RecordObservableInstruments();
        return age ?? throw new InvalidOperationException("There is no such gauge.");
    }

    /// <summary>How a database can be unavailable.</summary>
    public enum Outage
    {
        Cut,
        Hangs,
    }
}
