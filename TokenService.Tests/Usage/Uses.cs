using System.Diagnostics.Metrics;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Secrets;
using TokenService.Tests.Harness;
using TokenService.Usage;

namespace TokenService.Tests.Usage;

/// <summary>The usage of credentials and scopes is counted in memory and written every half minute.</summary>
[TestFixture]
public sealed class Uses : ServerFixture
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(30);

    private TestClient client = null!;
    private int number;

    private protected override string[] Settings => ["Logging:LogLevel:Npgsql=Trace", "Proxies:0=127.0.0.1", "Proxies:1=192.0.2.0/24"];

    [SetUp]
    public async Task CreateClient() => client = await CreateAsync();

    [Test]
    public async Task The_first_and_the_last_use_of_a_secret_and_their_number_are_written()
    {
        var first = Now;
        await AskAsync();
        Server.Clock.Advance(TimeSpan.FromSeconds(1));
        await AskAsync();
        Server.Clock.Advance(TimeSpan.FromSeconds(1));
        var last = Now;
        await AskAsync();
        await WrittenAsync();

        Assert.That(await OfSecretAsync(), Is.EqualTo($"3 {first} {last} 127.0.0.1"));
    }

    [Test]
    public async Task Later_counts_are_added_to_the_written_ones()
    {
        var first = Now;
        await AskAsync();
        await WrittenAsync();
        var last = Now;
        await AskAsync();
        await AskAsync();
        await WrittenAsync();

        Assert.That(await OfSecretAsync(), Is.EqualTo($"3 {first} {last} 127.0.0.1"));
        Assert.That(await OfScopesAsync(), Is.EqualTo($"invoices:read 3 {first} {last}"));
    }

    [TestCase("203.0.113.9", "203.0.113.9")]
    [TestCase("198.51.100.1, 203.0.113.9", "203.0.113.9", Description = "The proxy itself adds the last address.")]
    [TestCase("198.51.100.1, 203.0.113.9, 192.0.2.7", "203.0.113.9", Description = "Another listed proxy is skipped.")]
    [TestCase("203.0.113.9:4711", "203.0.113.9")]
    [TestCase("::ffff:203.0.113.9", "203.0.113.9")]
    [TestCase("2001:db8::9", "2001:db8::9")]
    [TestCase("[2001:db8::9]:4711", "2001:db8::9")]
    [TestCase("fe80::9%1", "fe80::9", Description = "A zone has a meaning on one machine only.")]
    public async Task The_address_of_a_use_is_the_one_that_the_proxy_reports(string forwardedFor, string address)
    {
        var at = Now;
        (await TokenRequestBuilder.For(client).WithHeader("X-Forwarded-For", forwardedFor).SendAsync(Server)).IsGrant("invoices:read");
        await WrittenAsync();

        Assert.That(await OfSecretAsync(), Is.EqualTo($"1 {at} {at} {address}"));
    }

    [Test]
    public async Task Scopes_are_counted_when_granted_by_name_or_by_default()
    {
        var at = Now;
        await AskAsync();
        await AskAsync("invoices:read");
        await AskAsync("invoices:read invoices:write");
        await WrittenAsync();

        Assert.That(await OfScopesAsync(), Is.EqualTo($"invoices:read 3 {at} {at}, invoices:write 1 {at} {at}"));
    }

    [Test]
    public async Task A_request_with_a_refused_scope_counts_as_a_use_of_the_secret_alone()
    {
        var at = Now;
        Assert.That((await TokenRequestBuilder.For(client).WithScope("unknown").SendAsync(Server)).Status, Is.EqualTo(400));
        await WrittenAsync();

        Assert.That(await OfSecretAsync(), Is.EqualTo($"1 {at} {at} 127.0.0.1"));
        Assert.That(await OfScopesAsync(), Is.Null);
    }

    // An API that gets no token and only introspects those of other clients is not idle.
    [Test]
    public async Task An_introspection_counts_as_a_use_of_the_secret_alone()
    {
        var api = await Database.CreateApiAsync($"api-{++number}", "https://api.example.com");
        var at = Now;
        (await TokenRequestBuilder.Introspect(api, "rubbish").SendAsync(Server)).IsInactive();
        await WrittenAsync();

        Assert.That(await OfSecretAsync(api), Is.EqualTo($"1 {at} {at} 127.0.0.1"));
        Assert.That(await OfScopesAsync(api), Is.Null);
    }

    [Test]
    public async Task A_refused_secret_is_not_counted()
    {
        await Database.ExecuteAsync("select token_service.set_client_enabled(@Id, false)", client);
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.For(client with { Secret = GeneratedSecret.Create().Value }).SendAsync(Server)).IsInvalidClient();
        await OtherIsWrittenAsync();

        Assert.That(await OfSecretAsync(), Is.Null);
    }

    [Test]
    public async Task The_counts_of_two_servers_are_added()
    {
        await using var other = await TestServer.StartAsync(Database, Settings);
        other.Clock.Advance(TimeSpan.FromHours(1));
        var (first, last) = (Now, other.Clock.GetUtcNow().ToUnixTimeSeconds());
        await AskAsync();
        await AskAsync();
        (await TokenRequestBuilder.For(client).WithHeader("X-Forwarded-For", "203.0.113.9").SendAsync(other)).IsGrant("invoices:read");

        // The later of two uses counts as the last, even when its server writes first.
        await WrittenAsync(other);
        await WrittenAsync();

        Assert.That(await OfSecretAsync(), Is.EqualTo($"3 {first} {last} 203.0.113.9"));
        Assert.That(await OfScopesAsync(), Is.EqualTo($"invoices:read 3 {first} {last}"));
    }

    // Otherwise somebody with the server's password could have a secret in use retired.
    [Test]
    public async Task A_date_of_last_use_never_goes_back()
    {
        await AskAsync();
        await WrittenAsync();
        const string Last = "select max(last_used_at) from token_service.credential_use";
        var before = await Database.ReadAsync<DateTime>(Last);
        await Database.ExecuteAsync(
            """
            update token_service.credential_use set last_used_at = now() - interval '1 year', first_used_at = now() - interval '2 years';
            select token_service.add_credential_use(
                array[kind], array[credential_id], '{1}', array[now() - interval '1 year'], array[now() - interval '1 year'], '{null}')
            from token_service.credential_use
            """);
        Assert.That(await Database.ReadAsync<DateTime>(Last), Is.EqualTo(before));
    }

    [Test]
    public async Task A_count_at_its_end_does_not_keep_the_others_from_being_written()
    {
        await AskAsync();
        await WrittenAsync();
        await Database.ExecuteAsync(
            "update token_service.credential_use set use_count = 9223372036854775807 where client_id = @Id", client);
        var other = await CreateAsync();
        await AskAsync();
        (await TokenRequestBuilder.For(other).SendAsync(Server)).IsGrant("invoices:read");
        await WrittenAsync();

        Assert.That(await OfSecretAsync(other), Is.Not.Null);
    }

    [Test]
    public async Task The_server_sends_nothing_when_no_use_was_counted()
    {
        await WrittenAsync();
        var before = Statements();
        for (var i = 0; i < 10; i++)
            Server.Clock.Advance(Interval);
        await AskAsync();
        await WrittenAsync();

        Assert.That(Statements() - before, Is.EqualTo(1));
    }

    [Test]
    public async Task A_client_or_scope_that_was_deleted_meanwhile_does_not_stop_the_other_counts()
    {
        var at = Now;
        var deleted = await CreateAsync();
        var revoked = await CreateAsync();
        foreach (var used in new[] { client, deleted, revoked })
            (await TokenRequestBuilder.For(used).SendAsync(Server)).IsGrant("invoices:read");
        await Database.ExecuteAsync("delete from token_service.client where id = @Id", deleted);
        await Database.ExecuteAsync("select token_service.revoke_scope(@Id, 'invoices:read')", revoked);
        await WrittenAsync();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(await OfSecretAsync(), Is.EqualTo($"1 {at} {at} 127.0.0.1"));
            Assert.That(await OfSecretAsync(deleted), Is.Null);
            Assert.That(await OfSecretAsync(revoked), Is.EqualTo($"1 {at} {at} 127.0.0.1"));
            Assert.That(await OfScopesAsync(revoked), Is.Null);
        }
    }

    [TestCase("delete from token_service.client_secret where client_id = @Id")]
    [TestCase("truncate token_service.client_secret cascade")]
    public async Task The_use_of_a_secret_that_is_deleted_by_hand_is_deleted_with_it(string deletion)
    {
        await AskAsync();
        await WrittenAsync();
        const string Used = "select count(*) from token_service.credential_use where client_id = @Id";
        Assert.That(await Database.ReadAsync<int>(Used, client), Is.EqualTo(1));

        await Database.ExecuteAsync(deletion, client);
        Assert.That(await Database.ReadAsync<int>(Used, client), Is.Zero);
    }

    [Test]
    public async Task Requests_do_not_wait_while_counts_are_written()
    {
        var at = Now;
        await AskAsync();
        await using var holder = await Database.Source.OpenConnectionAsync();
        await holder.ExecuteAsync("begin; lock table token_service.credential_use in access exclusive mode");
        await Soon.IsAsync("the statement that writes the counts waits", async () =>
        {
            Server.Clock.Advance(Interval);
            return await Database.WaitersForAsync("credential_use") > 0;
        });

        var last = Now;
        await AskAsync();
        await holder.ExecuteAsync("commit");
        await WrittenAsync();
        Assert.That(await OfSecretAsync(), Is.EqualTo($"2 {at} {last} 127.0.0.1"), "the use is counted");
    }

    [Test]
    public async Task Counts_are_kept_while_the_database_is_away()
    {
        using var wire = new DatabaseProxy(Database);
        await using var server = await TestServer.StartAsync(wire.ConnectionString, new FakeClock());
        var at = server.Clock.GetUtcNow().ToUnixTimeSeconds();
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        wire.Cut();
        await Soon.IsAsync("the log says that the uses could not be written", () =>
        {
            server.Clock.Advance(Interval);
            return server.Log.Lines.Any(line => line.StartsWith(
                "Warning TokenService.Usage.UsageWriter: The usage of credentials and scopes could not be written. "
                + "The counts are kept, and written with the next ones",
                StringComparison.Ordinal));
        });

        wire.Mend();
        await WrittenAsync(server);
        Assert.That(await OfSecretAsync(), Is.EqualTo($"1 {at} {at} 127.0.0.1"));
    }

    [Test]
    public async Task A_server_that_stops_writes_its_counts()
    {
        await using var server = await TestServer.StartAsync(Database);
        var first = server.Clock.GetUtcNow().ToUnixTimeSeconds();
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        await WrittenAsync(server);
        var last = server.Clock.GetUtcNow().ToUnixTimeSeconds();
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");

        await server.StopAsync();
        Assert.That(await OfSecretAsync(), Is.EqualTo($"2 {first} {last} 127.0.0.1"));
    }

    [Test]
    public async Task The_server_warns_once_a_day_of_a_used_secret_that_ends_within_14_days()
    {
        await using var server = await TestServer.StartAsync(Database);
        var now = server.Clock.GetUtcNow();
        var endsAt = now + TimeSpan.FromDays(14);
        var endsLater = await CreateAsync();
        await EndAsync(client, endsAt);
        await EndAsync(endsLater, endsAt + TimeSpan.FromDays(2));

        async Task UseAsync()
        {
            foreach (var used in new[] { client, endsLater })
                (await TokenRequestBuilder.For(used).SendAsync(server)).IsGrant("invoices:read");
            await WrittenAsync(server);
        }

        int Warnings() => server.Log.Lines.Count(line => line.StartsWith(
            $"Warning TokenService.Usage.UsageWriter: Client {client.Id} still uses secret {SecretId(client)}, "
            + $"which ends at {endsAt:u}: rotate it before then", StringComparison.Ordinal));

        Assert.That(Ending(server), Is.Zero);
        await UseAsync();
        await UseAsync();
        Assert.That((Warnings(), Ending(server)), Is.EqualTo((1, 1)));

        server.Clock.Advance(TimeSpan.FromDays(1));
        await UseAsync();
        Assert.That((Warnings(), Ending(server)), Is.EqualTo((2, 1)));
        Assert.That(server.Log.Lines, Has.None.Contains($"Client {endsLater.Id} still uses"));
    }

    [Test]
    public async Task The_server_warns_of_a_used_key_that_ends_within_14_days()
    {
        await using var server = await TestServer.StartAsync(Database);
        var key = await Database.CreateKeyClientAsync("key-ends");
        var endsAt = server.Clock.GetUtcNow() + TimeSpan.FromDays(14);
        await Database.ExecuteAsync(
            "update token_service.client_key set expires_at = @endsAt where client_id = 'key-ends'", new { endsAt });

        (await TokenRequestBuilder.ByAssertion(SignedJwt.Assertion(server, "key-ends", key).Signed()).SendAsync(server)).IsGrant();
        await WrittenAsync(server);

        var warning =
            $"Warning TokenService.Usage.UsageWriter: Client key-ends still uses key k1, which ends at {endsAt:u}: rotate it before then";
        await Soon.IsAsync(
            "the warning is logged", () => server.Log.Lines.Count(line => line.StartsWith(warning, StringComparison.Ordinal)) == 1);
        Assert.That((Ending(server, "token_service.client_key.ending"), Ending(server)), Is.EqualTo((1, 0)));
    }

    private long Now => Server.Clock.GetUtcNow().ToUnixTimeSeconds();

    private Task<TestClient> CreateAsync() => Database.CreateClientAsync($"client-{++number}");

    private async Task AskAsync(string? scope = null)
    {
        var request = TokenRequestBuilder.For(client);
        (await (scope is null ? request : request.WithScope(scope)).SendAsync(Server)).IsGrant(scope ?? "invoices:read");
    }

    /// <summary>Waits until a server has written all it has counted.</summary>
    private Task WrittenAsync(TestServer? by = null) => Soon.IsAsync("all uses are written", () =>
    {
        (by ?? Server).Clock.Advance(Interval);
        return (by ?? Server).Services.GetRequiredService<UsageCounters>().Read().IsEmpty;
    });

    private async Task OtherIsWrittenAsync()
    {
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
        await WrittenAsync();
    }

    private int Statements() => Server.Log.Lines.Count(line =>
        line.Contains("Npgsql.Command: Command execution completed", StringComparison.Ordinal)
        && line.Contains("token_service.add_credential_use(", StringComparison.Ordinal));

    private Task EndAsync(TestClient client, DateTimeOffset at) => Database.ExecuteAsync(
        "update token_service.client_secret set expires_at = @at where client_id = @Id", new { client.Id, at = at.UtcDateTime });

    private Task<string?> OfSecretAsync(TestClient? of = null) => Database.ReadAsync<string>(
        """
        select format('%s %s %s %s', use_count, extract(epoch from first_used_at)::bigint, extract(epoch from last_used_at)::bigint,
                      host(last_used_from))
        from token_service.credential_use
        where kind = 'secret'
          and credential_id = @id
        """,
        new { id = SecretId(of ?? client) });

    private Task<string?> OfScopesAsync(TestClient? of = null) => Database.ReadAsync<string>(
        """
        select string_agg(format('%s %s %s %s', scope, use_count, extract(epoch from first_used_at)::bigint,
                                 extract(epoch from last_used_at)::bigint), ', ' order by scope)
        from token_service.scope_use
        where client_id = @Id
        """,
        of ?? client);

    private static string SecretId(TestClient client) =>
        GeneratedSecret.TryParse(client.Secret, out var secret) ? secret.Selector : throw new InvalidOperationException();

    private static int Ending(TestServer server, string gauge = "token_service.client_secret.ending")
    {
        var meters = server.Services.GetRequiredService<IMeterFactory>();
        var ending = 0;
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, _) =>
        {
            if (instrument.Name == gauge && instrument.Meter.Scope == meters)
                listener.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<int>((_, value, _, _) => ending = value);
        listener.Start();
        listener.RecordObservableInstruments();
        return ending;
    }
}
