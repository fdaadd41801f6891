using System.Diagnostics.Metrics;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>How a server learns of changes to its keys, and how it reports them.</summary>
[TestFixture]
public sealed class KeyNotifications
{
    private const string NewSealingKey = "Keys:SealingKeys:new=YW5vdGhlci1zZWFsaW5nLWtleS1vZi10ZXN0cy0zMmI=";

    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private Database database = null!;
    private TestServer server = null!;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        server = await TestServer.StartAsync(database, "Keys:SigningPeriod=01:00:00");
    }

    [TearDown]
    public async Task StopServer()
    {
        await server.DisposeAsync();
        await database.DisposeAsync();
    }

    [Test]
    public async Task Every_server_is_notified_of_a_withdrawn_key()
    {
        // The clocks stand still, so no server polls.
        await using var other = await TestServer.StartAsync(database);
        await server.IsListeningAsync();
        await other.IsListeningAsync();

        var withdrawn = await WithdrawAsync();

        await StopsPublishingAsync(withdrawn, server);
        await StopsPublishingAsync(withdrawn, other);
    }

    [Test]
    public async Task A_server_whose_notification_connection_was_cut_listens_again()
    {
        await server.IsListeningAsync();
        await database.ExecuteAsync(
            """
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'TokenService'
            """);
        await Soon.IsAsync("the log says that the server polls", () => server.Log.Lines.Any(line => line.StartsWith(
            "Warning TokenService.Postgres.ChangeNotifications: Not listening for changes, polling instead: ", StringComparison.Ordinal)));
        await server.IsListeningAsync(whileWaiting: () => server.Clock.Advance(Second));

        await StopsPublishingAsync(await WithdrawAsync(), server);
    }

    [Test]
    public async Task A_server_without_notifications_polls_every_five_seconds()
    {
        await DropNotificationTriggerAsync();
        var withdrawn = await WithdrawAsync();
        server.Clock.Advance(4 * Second);
        Assert.That(await KidsAsync(server), Does.Contain(withdrawn));

        server.Clock.Advance(Second);
        await StopsPublishingAsync(withdrawn, server);
    }

    [Test]
    public async Task An_update_that_changes_nothing_sends_no_notification()
    {
        // A server that begins to listen sends a notification of its own.
        await server.IsListeningAsync();
        await using var listener = await database.Source.OpenConnectionAsync();
        List<string> heard = [];
        listener.Notification += (_, notification) => heard.Add(notification.Payload);
        await listener.ExecuteAsync("listen token_service");

        await StepAsync(server);
        await database.ExecuteAsync("update token_service.signing_key set signs_until = signs_until where false");
        await database.ExecuteAsync("notify token_service, 'the end'");
        while (!heard.Contains("the end"))
            Assert.That(await listener.WaitAsync(TimeSpan.FromSeconds(30)), Is.True);

        Assert.That(heard, Is.EqualTo(["the end"]));
    }

    [Test]
    public async Task Each_state_change_of_a_key_is_logged_once()
    {
        var (first, second) = (Ring.Keys[0], Ring.Keys[1]);
        var (firstEnds, firstIsGone) = ($"{second.SignsFrom:u}", $"{second.SignsFrom + TimeSpan.FromMinutes(15):u}");
        await IsLoggedAsync(first, "Signing", firstEnds, firstIsGone);
        await IsLoggedAsync(second, "Next", "(null)", "(null)");

        server.Clock.Advance(second.SignsFrom - server.Clock.GetUtcNow());
        await IsLoggedAsync(first, "Retiring", firstEnds, firstIsGone);
        // The dates are not compared: the end of this key appears with its successor, at about this time.
        await IsLoggedAsync(second, "Signing");

        server.Clock.Advance(TimeSpan.FromMinutes(15));
        await IsLoggedAsync(first, "Gone", firstEnds, firstIsGone);

        await database.WithdrawKeyAsync(second.Kid, server.Clock.GetUtcNow());
        await IsLoggedAsync(
            second, "Withdrawn", $"{second.SignsFrom + TimeSpan.FromHours(1):u}", $"{server.Clock.GetUtcNow():u}");
    }

    [Test]
    public async Task The_gauges_show_the_age_of_the_signing_key_and_the_time_to_the_next_step()
    {
        Assert.That(Gauges(), Is.EqualTo(new Dictionary<string, double>
        {
            ["token_service.signing_key.age"] = 0,
            ["token_service.signing_key.time_to_next_step"] = 3600,
        }));

        server.Clock.Advance(TimeSpan.FromMinutes(10));
        Assert.That(Gauges(), Is.EqualTo(new Dictionary<string, double>
        {
            ["token_service.signing_key.age"] = 600,
            ["token_service.signing_key.time_to_next_step"] = 3000,
        }));

        await DropNotificationTriggerAsync();
        await database.ExecuteAsync("delete from token_service.signing_key");
        await server.Services.GetRequiredService<SigningKeys>().LoadAsync(CancellationToken.None);
        Assert.That(Gauges(), Is.Empty, "without keys the gauges report nothing");
    }

    // This happens when the other replicas were given a new sealing key and this one was forgotten.
    [Test]
    public async Task A_server_that_cannot_open_any_key_answers_503_is_not_ready_and_recovers()
    {
        var client = await database.CreateClientAsync("billing");
        await server.IsListeningAsync();
        await DropNotificationTriggerAsync();
        await using var other = await TestServer.StartAsync(database, NewSealingKey, "Keys:SealingKeyId=new");
        await database.ExecuteAsync("select token_service.withdraw_signing_key(kid) from token_service.signing_key");
        await StepAsync(other);
        Assert.That(await KidsAsync(other), Has.Length.EqualTo(2));

        server.Clock.Advance(5 * Second);
        await Soon.IsAsync("the server publishes no key", async () => (await KidsAsync(server)).Length == 0);

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));
        await IsReadyAsync(503, "Unhealthy");
        Assert.That(server.Log.Lines, Has.Some.Contain("is sealed with the sealing key \"new\", which is not configured."));

        await database.ExecuteAsync("select token_service.withdraw_signing_key(kid) from token_service.signing_key");
        await StepAsync(server);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        server.Clock.Advance(Second);
        await IsReadyAsync(200, "Healthy");
    }

    private KeyRing Ring => server.Services.GetRequiredService<SigningKeys>().Ring;

    private static Task<string?> StepAsync(TestServer server) =>
        server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);

    private Task DropNotificationTriggerAsync() =>
        database.ExecuteAsync("drop trigger signing_key_notify on token_service.signing_key");

    private async Task<string> WithdrawAsync()
    {
        var kid = (await KidsAsync(server))[0];
        await database.ExecuteAsync("select token_service.withdraw_signing_key(@kid)", new { kid });
        return kid;
    }

    private static Task StopsPublishingAsync(string kid, TestServer server) =>
        Soon.IsAsync($"{kid} is no longer published", async () => !(await KidsAsync(server)).Contains(kid));

    private static async Task<string[]> KidsAsync(TestServer server) =>
        [.. (await PublishedKey.ReadAllAsync(server)).Select(key => key.Kid)];

    private Task IsLoggedAsync(SigningKey key, string state, string? signsUntil = null, string? goneAfter = null)
    {
        var line = $"Information TokenService.Keys.KeyRotation: Signing key {key.Kid} (ES256) is now {state}: "
            + $"signs from {key.SignsFrom:u} until "
            + (signsUntil is null ? "" : $"{signsUntil}, gone after {goneAfter} ");
        return Soon.IsAsync(
            $"the log says: {line}",
            () => server.Log.Lines.Count(logged => logged.StartsWith(line, StringComparison.Ordinal)) == 1);
    }

    private Dictionary<string, double> Gauges()
    {
        var meters = server.Services.GetRequiredService<IMeterFactory>();
        var measured = new Dictionary<string, double>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, _) =>
        {
            if (instrument.Meter.Scope == meters && instrument.Name.StartsWith("token_service.signing_key.", StringComparison.Ordinal))
                listener.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<double>((instrument, value, _, _) => measured.Add(instrument.Name, value));
        listener.Start();
        listener.RecordObservableInstruments();
        return measured;
    }

    private async Task IsReadyAsync(int status, string body)
    {
        var answer = await server.GetAsync("/healthz/ready");
        Assert.That((answer.Status, answer.Body), Is.EqualTo((status, body)));
    }
}
