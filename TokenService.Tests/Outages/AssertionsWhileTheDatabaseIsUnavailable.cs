using Microsoft.Extensions.DependencyInjection;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Outages;

/// <summary>
/// An assertion works once, which the database decides. While it does not answer, a fresh assertion is accepted once at
/// each replica, and an older one not at all.
/// </summary>
[TestFixture, Rfc(7523, "3e")]
public sealed class AssertionsWhileTheDatabaseIsUnavailable
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ServeWhileAway = TimeSpan.FromMinutes(5);

    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer server = null!;
    private TestKey key = null!;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        key = await database.CreateKeyClientAsync("signer");
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
    public async Task A_fresh_assertion_is_accepted_once_and_the_event_says_so([Values] Outage outage)
    {
        await StartOutageAsync(outage);
        var jwt = Assertion().Signed();

        var answer = await SendAsync(jwt);

        answer.IsGrant();
        Assert.That((await server.Events.OfAsync(answer.EventId)).GetProperty("replay_check").GetString(), Is.EqualTo("memory"));
        (await SendAsync(jwt)).IsInvalidClient();
    }

    [Test]
    public async Task An_assertion_that_was_used_before_the_outage_is_refused_in_it([Values] Outage outage)
    {
        var jwt = Assertion().Signed();
        (await SendAsync(jwt)).IsGrant();

        await StartOutageAsync(outage);

        (await SendAsync(jwt)).IsInvalidClient();
    }

    [TestCase(0)]
    [TestCase(60)]
    public async Task An_assertion_of_a_minute_is_accepted_and_an_older_one_only_after_the_outage(int age)
    {
        await StartOutageAsync(Outage.Cut);
        (await SendAsync(Aged(age).Signed())).IsGrant();
        var older = Aged(61).Signed();
        IsUnavailable(await SendAsync(older));
        IsUnavailable(await SendAsync(older));

        await EndOutageAsync();

        (await SendAsync(older)).IsGrant();

        SignedJwt Aged(int seconds)
        {
            // The clock may stand within a second.
            var at = Math.Ceiling(server.Clock.GetUtcNow().ToUnixTimeMilliseconds() / 1000.0) - seconds;
            return Assertion().WithClaim("iat", at).WithClaim("nbf", at).WithClaim("exp", at + 300);
        }
    }

    [Test]
    public async Task An_assertion_without_iat_may_be_old_and_is_refused()
    {
        await StartOutageAsync(Outage.Cut);

        IsUnavailable(await SendAsync(Assertion().WithoutClaim("iat").Signed()));
    }

    [Test]
    public async Task An_assertion_that_was_accepted_in_the_outage_is_refused_after_it()
    {
        await StartOutageAsync(Outage.Cut);
        var jwt = Assertion().WithClaim("exp", server.Clock.GetUtcNow().ToUnixTimeSeconds() + 3600).Signed();
        (await SendAsync(jwt)).IsGrant();

        await EndOutageAsync();

        (await SendAsync(jwt)).IsInvalidClient();
    }

    [Test]
    public async Task After_the_stated_age_no_assertion_is_accepted([Values] Outage outage)
    {
        await StartOutageAsync(outage);
        server.Clock.Advance(ServeWhileAway);

        IsUnavailable(await SendAsync(Assertion().Signed()));
    }

    [Test]
    public async Task No_assertion_is_accepted_if_the_operator_says_so([Values] Outage outage)
    {
        await server.DisposeAsync();
        await StartServerAsync("Assertions:WhileAway=Refuse");
        await StartOutageAsync(outage);
        var jwt = Assertion().Signed();
        IsUnavailable(await SendAsync(jwt));

        await EndOutageAsync();

        (await SendAsync(jwt)).IsGrant();
    }

    [Test]
    public async Task A_database_that_only_reads_is_away_for_assertions()
    {
        await database.ExecuteAsync("revoke insert on token_service.used_jti from token_service_app");
        await database.ExecuteAsync(
            """
            create function token_service.refuse() returns trigger language plpgsql as
            'begin raise exception using errcode = ''read_only_sql_transaction'', message = ''read-only''; end';
            create trigger refuse before insert on token_service.used_jti execute function token_service.refuse();
            grant insert on token_service.used_jti to token_service_app
            """);
        var (fresh, old) = (Assertion(), Assertion().WithoutClaim("iat"));

        (await SendAsync(fresh.Signed())).IsGrant();
        IsUnavailable(await SendAsync(old.Signed()));
        server.Clock.Advance(ServeWhileAway);
        await Soon.IsAsync("the server listens", () => server.Services.GetRequiredService<ChangeNotifications>().IsListening);
        IsUnavailable(await SendAsync(Assertion().Signed()));
    }

    // A statement that was sent may have been done, although its answer never came.
    [Test]
    public async Task An_assertion_whose_use_is_uncertain_is_not_accepted_again()
    {
        await using var holder = await HoldAsync();
        var jwt = Assertion().Signed();
        var answering = SendAsync(jwt);
        await Soon.IsAsync("the server waits for the table", async () => await database.WaitersForAsync("used_jti") == 1);
        for (var i = 0; i < 5; i++)
        {
            server.Clock.Advance(Second);
            await server.HasReceivedNotificationsAsync();
        }

        var answer = await answering;
        IsUnavailable(answer);
        Assert.That((await server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo("database_slow"));
        await holder.DisposeAsync();

        (await SendAsync(jwt)).IsInvalidClient();
        (await SendAsync(Assertion().Signed())).IsGrant();
    }

    [TestCase("select token_service.set_client_enabled('signer', false)", "client_disabled")]
    [TestCase("update token_service.client_key set revoked_at = now()", Reason.KeyRevoked)]
    [TestCase("delete from token_service.client_key", Reason.AssertionKeyUnknown)]
    public async Task A_client_that_is_withdrawn_while_its_assertion_is_recorded_gets_nothing(string withdrawal, string reason)
    {
        await using var holder = await HoldAsync();
        var answering = SendAsync(Assertion().Signed());
        await Soon.IsAsync("the server waits for the table", async () => await database.WaitersForAsync("used_jti") == 1);
        await database.ExecuteAsync(withdrawal);
        await server.HasReceivedNotificationsAsync();

        await holder.DisposeAsync();

        var answer = await answering;
        answer.IsInvalidClient();
        Assert.That((await server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(reason));
    }

    private SignedJwt Assertion() => SignedJwt.Assertion(server, "signer", key);

    private Task<Answer> SendAsync(string jwt) => TokenRequestBuilder.ByAssertion(jwt).SendAsync(server);

    /// <summary>Keeps rows out of the table until the connection is disposed of.</summary>
    private async Task<Npgsql.NpgsqlConnection> HoldAsync()
    {
        var holder = new Npgsql.NpgsqlConnection($"{database.ConnectionString};Pooling=false");
        await holder.OpenAsync();
        await using var command = new Npgsql.NpgsqlCommand("begin; lock table token_service.used_jti in access exclusive mode", holder);
        await command.ExecuteNonQueryAsync();
        return holder;
    }

    private async Task StartServerAsync(params string[] settings)
    {
        server = await TestServer.StartAsync($"{wire.ConnectionString};Command Timeout=60", new FakeClock(), settings);
        await server.IsListeningAsync();
        (await SendAsync(Assertion().Signed())).IsGrant();
    }

    // Returns when the server knows of the outage, from a request that waits for the longest time allowed.
    private async Task StartOutageAsync(Outage outage)
    {
        if (outage == Outage.Hangs)
            wire.SilenceAll();
        else
            wire.Cut();
        server.Clock.Advance(ChangeNotifications.MaxSilence);
        await Soon.IsAsync("the server does not listen", () => !server.Services.GetRequiredService<ChangeNotifications>().IsListening);
        foreach (var request in new[] { TokenRequestBuilder.ByAssertion(Assertion().WithoutClaim("iat").Signed()) })
        {
            var answering = request.SendAsync(server);
            await Soon.IsAsync("the request is answered", () =>
            {
                if (!answering.IsCompleted)
                    server.Clock.Advance(Second / 10);
                return answering.IsCompleted;
            });
            IsUnavailable(await answering);
        }
    }

    private async Task EndOutageAsync()
    {
        wire.Mend();
        wire.Speak();
        await server.IsListeningAsync(() => server.Clock.Advance(Second / 10));
        await Soon.IsAsync("assertions are recorded again", async () =>
        {
            server.Clock.Advance(Second / 10);
            return (await SendAsync(Assertion().WithoutClaim("iat").Signed())).Status == 200;
        });
    }

    private static void IsUnavailable(Answer answer) => answer.IsError(
        503, "temporarily_unavailable", "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));

    /// <summary>How a database can be unavailable.</summary>
    public enum Outage
    {
        Cut,
        Hangs,
    }
}
