using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Postgres;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Outages;

/// <summary>
/// What is promised for a database that is away, whether its connections break or it accepts them and never answers: known clients are
/// served from memory up to a stated age, nobody else is, and nothing is granted that the database had not granted.
/// </summary>
[TestFixture]
public sealed class WhileTheDatabaseIsAway
{
    private const string Imported = "a secret of another system";

    private static readonly TimeSpan ServeWhileAway = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private DateTimeOffset wentAt;

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
    public async Task A_known_client_is_served_up_to_the_stated_age([Values] Trouble trouble)
    {
        await GoAwayAsync(trouble);
        await IsServedAsync(client);
        server.Clock.Advance(ServeWhileAway - Away - Instant);
        await IsServedAsync(client);
        await IsServedAsync(client);

        // At once, since the database was asked an instant ago: the clock stands still.
        server.Clock.Advance(Instant);
        IsUnavailable(await SendAsync(client));
        IsUnavailable(await SendAsync(client));
    }

    [Test]
    public async Task With_an_age_of_zero_a_known_client_is_refused_at_once([Values] Trouble trouble)
    {
        await server.DisposeAsync();
        await StartServerAsync("Clients:ServeWhileAway=00:00:00");
        await GoAwayAsync(trouble);
        await IsUnavailableAsync(client);
    }

    [Test]
    public async Task Others_are_refused_at_once([Values] Trouble trouble)
    {
        var other = await database.CreateClientAsync("never-read");
        await GoAwayAsync(trouble);
        await IsUnavailableAsync(other);
        await IsUnavailableAsync(client with { Id = "unknown" });
        await IsUnavailableAsync(client with { Id = "unknown", Secret = Imported });
        await IsServedAsync(client);
    }

    [Test]
    public async Task Nothing_is_granted_that_the_database_had_not_granted([Values] Trouble trouble)
    {
        var disabled = await database.CreateClientAsync("disabled");
        await database.ExecuteAsync("select token_service.set_client_enabled('disabled', false)");
        // News that came later would have it forgotten.
        await server.HasReceivedNotificationsAsync();
        (await SendAsync(disabled)).IsInvalidClient();
        await GoAwayAsync(trouble);
        await IsServedAsync(client);

        (await SendAsync(disabled)).IsInvalidClient();
        (await SendAsync(client with { Secret = GeneratedSecret.Create().Value })).IsInvalidClient();
        (await SendAsync(client with { Secret = Imported + "!" })).IsInvalidClient();
        (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");
        // What it had granted is granted, be it proved for the first time.
        (await TokenRequestBuilder.For(client with { Secret = Imported }).WithScope("invoices:write").SendAsync(server)).IsGrant("invoices:write");
    }

    [Test]
    public async Task A_secret_that_expires_meanwhile_is_refused([Values] Trouble trouble)
    {
        await database.ExecuteAsync(
            "update token_service.client_secret set expires_at = @at", new { at = server.Clock.GetUtcNow() + TimeSpan.FromMinutes(1) });
        await server.HasReceivedNotificationsAsync();
        await IsServedAsync(client);
        await GoAwayAsync(trouble);
        await IsServedAsync(client);
        server.Clock.Advance(TimeSpan.FromMinutes(1) - Away);
        (await SendAsync(client)).IsInvalidClient();
    }

    [Test]
    public async Task Back_again_what_was_withdrawn_meanwhile_is_refused([Values] Trouble trouble)
    {
        await GoAwayAsync(trouble);
        await IsServedAsync(client);
        await database.ExecuteAsync("select token_service.set_client_enabled('billing', false)");
        await IsServedAsync(client);

        wire.Mend();
        wire.Speak();
        await server.IsListeningAsync(() => server.Clock.Advance(Second / 10));
        await Soon.IsAsync("it is refused, and served no more", async () =>
        {
            server.Clock.Advance(Second / 10);
            var answer = await SendAsync(client);
            Assert.That(answer.Status, Is.EqualTo(401).Or.EqualTo(503));
            return answer.Status == 401;
        });
    }

    [Test]
    public async Task Back_again_everybody_is_served_without_a_restart([Values] Trouble trouble)
    {
        await GoAwayAsync(trouble);
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
    public async Task How_old_what_is_served_may_be_is_measured([Values] Trouble trouble)
    {
        Assert.That(Age(), Is.Zero);
        await GoAwayAsync(trouble);
        Assert.That(Age(), Is.EqualTo(Away.TotalSeconds).And.GreaterThanOrEqualTo(3));
        server.Clock.Advance(TimeSpan.FromSeconds(90));
        Assert.That(Age(), Is.EqualTo(Away.TotalSeconds).And.GreaterThanOrEqualTo(93));

        wire.Mend();
        wire.Speak();
        await server.IsListeningAsync(() => server.Clock.Advance(Second / 10));
        Assert.That(Age(), Is.Zero);
    }

    [Test]
    public async Task Readiness_says_so([Values] Trouble trouble)
    {
        await GoAwayAsync(trouble);
        var asking = server.Client.GetAsync("/healthz/ready");
        await Soon.IsAsync("it is not ready", () =>
        {
            server.Clock.Advance(Second);
            return asking.IsCompleted;
        });
        using var answer = await asking;
        Assert.That((int)answer.StatusCode, Is.EqualTo(503));
    }

    // The clock stands still: whoever waited for the database would wait for ever.
    [Test]
    public async Task While_it_hangs_one_asks_and_nobody_waits_for_him()
    {
        await GoAwayAsync(Trouble.Hangs);
        await IsServedAsync(client);
        server.Clock.Advance(Second);

        var asking = Enumerable.Range(0, 10).Select(i => SendAsync(client with { Id = $"unknown-{i}" })).ToList();
        await Soon.IsAsync("all but one are answered", () => asking.Count(one => one.IsCompleted) == 9);
        for (var i = 0; i < 10; i++)
            (await SendAsync(client)).IsGrant("invoices:read");
        Assert.That(asking.Count(one => one.IsCompleted), Is.EqualTo(9));

        server.Clock.Advance(Second);
        foreach (var answer in await Task.WhenAll(asking))
            IsUnavailable(answer);
    }

    [Test]
    public async Task An_unknown_id_is_remembered_until_the_client_is_made()
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
            // Whoever is held up waits for the test, however slow it is.
            $"{wire.ConnectionString};Command Timeout=60", new FakeClock(),
            [.. settings, $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}"]);
        await server.IsListeningAsync();
        (await SendAsync(client)).IsGrant("invoices:read");
    }

    /// <summary>For how long the database has been away.</summary>
    private TimeSpan Away => server.Clock.GetUtcNow() - wentAt;

    // Until the server knows, which takes one request that waits as long as a request may.
    private async Task GoAwayAsync(Trouble trouble)
    {
        wentAt = server.Clock.GetUtcNow();
        if (trouble == Trouble.Hangs)
            wire.SilenceAll();
        else
            wire.Cut();
        server.Clock.Advance(ChangeNotifications.MaxSilence);
        await Soon.IsAsync("the server is deaf", () => !server.Services.GetRequiredService<ChangeNotifications>().IsListening);
        await IsUnavailableAsync(client with { Id = "the-first" });
    }

    private async Task IsServedAsync(TestClient client) => (await SendAsync(client)).IsGrant("invoices:read");

    // Whoever has to ask the database waits for it, for a second of the server's clock.
    private async Task IsUnavailableAsync(TestClient client)
    {
        var answering = SendAsync(client);
        await Soon.IsAsync("it is answered", () =>
        {
            if (!answering.IsCompleted)
                server.Clock.Advance(Second / 10);
            return answering.IsCompleted;
        });
        IsUnavailable(await answering);
    }

    private static void IsUnavailable(Answer answer) => answer.IsError(
        503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "5"));

    private Task<Answer> SendAsync(TestClient client) => TokenRequestBuilder.For(client).SendAsync(server);

    private double Age()
    {
        double? age = null;
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                // Of the many servers of a run, this one.
                if (instrument.Name == "token_service.clients.age" && instrument.Meter.Scope == server.Services.GetRequiredService<IMeterFactory>())
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<double>((_, value, _, _) => age = value);
        listener.Start();
        listener.RecordObservableInstruments();
        return age ?? throw new InvalidOperationException("There is no such gauge.");
    }

    /// <summary>How a database can be away.</summary>
    public enum Trouble
    {
        Cut,
        Hangs,
    }
}
