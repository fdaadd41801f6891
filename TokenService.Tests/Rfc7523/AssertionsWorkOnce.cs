using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7523;

/// <summary>An assertion works once, at one endpoint of one replica, when the rest of the request is right.</summary>
[TestFixture, Rfc(7523, "3e")]
public sealed class AssertionsWorkOnce : AssertionFixture
{
    [Test, Rfc(7523, "3n"), Rfc(7523, "3s")]
    public async Task The_second_use_is_refused_like_every_failed_authentication_and_the_event_names_the_key()
    {
        var jwt = Assertion().Signed();

        (await SendAsync(jwt)).IsGrant();
        var line = await IsRefusedAsync(jwt, Reason.AssertionReplayed);
        Assert.That(line.GetProperty("client_kid").GetString(), Is.EqualTo("k1"));
        Assert.That(line.GetProperty("auth_method").GetString(), Is.EqualTo("private_key_jwt"));
    }

    [Test, Rfc(7523, "3r")]
    public async Task Another_replica_refuses_an_assertion_that_was_used()
    {
        await using var other = await TestServer.StartAsync(Database.ConnectionString, Server.Clock);
        var jwt = Assertion().Signed();

        (await SendAsync(jwt)).IsGrant();
        (await TokenRequestBuilder.ByAssertion(jwt).SendAsync(other)).IsInvalidClient();
    }

    [Test, Rfc(7523, "3r"), CancelAfter(120_000)]
    public async Task Of_two_replicas_that_get_the_same_assertions_at_once_exactly_one_grants_each()
    {
        const int count = 500;
        await using var other = await TestServer.StartAsync(Database.ConnectionString, Server.Clock);
        var assertions = Enumerable.Range(0, count).Select(_ => Assertion().Signed()).ToList();

        var answers = await Task.WhenAll(
            from jwt in assertions
            from server in new[] { Server, other }
            select TokenRequestBuilder.ByAssertion(jwt).SendAsync(server));

        foreach (var answer in answers.Where(answer => answer.Status != 200))
            answer.IsInvalidClient();
        Assert.That(
            answers.Chunk(2).Select(pair => pair.Count(answer => answer.Status == 200)), Has.Exactly(count).EqualTo(1));
    }

    [Test, Rfc(7523, "3n")]
    public async Task Two_clients_may_use_the_same_jti()
    {
        var other = await Database.CreateKeyClientAsync("namesake");

        await IsGrantedAsync(Assertion().WithClaim("jti", "shared"));
        (await SendAsync(SignedJwt.Assertion(Server, "namesake", other).WithClaim("jti", "shared"))).IsGrant();
        await IsRefusedAsync(Assertion().WithClaim("jti", "shared"), Reason.AssertionReplayed);
    }

    // An attacker who has a signature (r, s) can make (r, n - s), which is as valid, without the key.
    [Test, Rfc(7523, "3p")]
    public async Task The_twin_of_an_ECDSA_signature_is_the_same_assertion()
    {
        var jwt = Assertion().Signed();
        var parts = jwt.Split('.');
        var twin = $"{parts[0]}.{parts[1]}.{Base64Url.EncodeToString(TwinOf(Base64Url.DecodeFromChars(parts[2])))}";

        (await SendAsync(twin)).IsGrant();
        await IsRefusedAsync(jwt, Reason.AssertionReplayed);
    }

    // The memory of the first replica is gone when it starts again; the database's is not.
    [Test, Rfc(7523, "3e"), Rfc(7523, "3o")]
    public async Task An_assertion_is_remembered_until_it_is_too_old_also_by_a_replica_that_starts()
    {
        var clock = new FakeClock();
        await using var first = await TestServer.StartAsync(Database.ConnectionString, clock);
        // Signed a minute ahead, it is accepted for the longest time there is: until 7 minutes from now.
        var now = clock.GetUtcNow();
        var jwt = SignedJwt.Assertion(now + TimeSpan.FromSeconds(60), TestServer.Issuer, "signer", Key)
            .WithClaim("exp", now.ToUnixTimeSeconds() + 3600).Signed();
        (await TokenRequestBuilder.ByAssertion(jwt).SendAsync(first)).IsGrant();

        foreach (var at in new[] { TimeSpan.FromMinutes(3.5), TimeSpan.FromMinutes(7) - TimeSpan.FromSeconds(1) })
        {
            clock.Advance(now + at - clock.GetUtcNow());
            await using var restarted = await TestServer.StartAsync(Database.ConnectionString, clock);
            foreach (var server in new[] { first, restarted })
            {
                var answer = await TokenRequestBuilder.ByAssertion(jwt).SendAsync(server);
                answer.IsInvalidClient();
                var line = await server.Events.OfAsync(answer.RequestId);
                Assert.That(line.GetProperty("reason").GetString(), Is.EqualTo(Reason.AssertionReplayed));
            }
        }

        clock.Advance(TimeSpan.FromSeconds(1));
        var late = await TokenRequestBuilder.ByAssertion(jwt).SendAsync(first);
        late.IsInvalidClient();
        Assert.That((await first.Events.OfAsync(late.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(Reason.AssertionTooOld));
    }

    [Test, Rfc(7523, "3o")]
    public async Task The_database_keeps_the_end_of_acceptance_from_the_signed_claims()
    {
        var now = Server.Clock.GetUtcNow();
        var key = $"\\x{Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes("assertion\nsigner\nits-end")))}";

        await IsGrantedAsync(Assertion().WithClaim("jti", "its-end").WithClaim("exp", now.ToUnixTimeSeconds() + 3600));

        var end = await Database.ReadAsync<DateTime>(
            "select expires_at from token_service.used_jti where key = @key::bytea", new { key });
        Assert.That(end, Is.EqualTo((now + TimeSpan.FromMinutes(6)).UtcDateTime));
    }

    // vouch-sh/vouch#407: the client corrects its request, and may send the same assertion.
    [Test, Rfc(7523, "3q")]
    public async Task A_request_that_is_refused_for_another_reason_does_not_use_the_assertion_up()
    {
        var jwt = Assertion().Signed();

        Assert.That((await TokenRequestBuilder.ByAssertion(jwt).WithScope("unheld").SendAsync(Server)).Status, Is.EqualTo(400));
        Assert.That(
            (await TokenRequestBuilder.ByAssertion(jwt).WithHeader("DPoP", "malformed").SendAsync(Server)).Status, Is.EqualTo(400));
        (await SendAsync(jwt)).IsGrant();
    }

    [Test, Rfc(7523, "6")]
    public async Task An_assertion_works_at_each_endpoint_and_not_at_a_second_one([Values("/token", "/introspect", "/revoke")] string path)
    {
        await Database.ExecuteAsync(
            "insert into token_service.resource_server values ('signer', 'https://api.example.com') on conflict do nothing");
        await Server.HasReceivedNotificationsAsync();
        var token = (await SendAsync(Assertion())).Token.EncodedToken;
        var jwt = Assertion().Signed();

        Assert.That((await RequestAsync(path)).Status, Is.EqualTo(200));

        foreach (var other in new[] { "/token", "/introspect", "/revoke" })
            (await RequestAsync(other)).IsInvalidClient();

        Task<Answer> RequestAsync(string to)
        {
            var request = TokenRequestBuilder.ByAssertion(jwt);
            return (to == "/token" ? request : request.About(token, to)).SendAsync(Server);
        }
    }

    // The use that the admin sees is the client's own, and not that of somebody who sends its assertion again.
    [Test]
    public async Task Only_the_first_use_counts_as_a_use_of_the_key()
    {
        var key = await Database.CreateKeyClientAsync("counted");
        var jwt = SignedJwt.Assertion(Server, "counted", key).Signed();
        (await SendAsync(jwt)).IsGrant();
        (await SendAsync(jwt)).IsInvalidClient();
        (await SendAsync(SignedJwt.Assertion(Server, "counted", key))).IsGrant();

        Server.Clock.Advance(TimeSpan.FromSeconds(30));

        await Soon.IsAsync(
            "two uses are written",
            async () => await Database.ReadAsync<long>(
                "select coalesce(sum(use_count), 0)::bigint from token_service.credential_use where credential_id = 'counted k1'") == 2);
    }

    [Test]
    public async Task Ids_of_assertions_that_have_expired_are_deleted()
    {
        await Database.ExecuteAsync(
            """
            insert into token_service.used_jti
            select sha256(n::text::bytea), now() - interval '5 minutes 1 second' from generate_series(1, 25000) n;
            insert into token_service.used_jti values (sha256('kept'), now() - interval '4 minutes')
            """);
        Server.Clock.Advance(TimeSpan.FromMinutes(1));

        await Soon.IsAsync(
            "the expired ids are gone",
            async () => await Database.ReadAsync<long>(
                "select count(*) from token_service.used_jti where expires_at < now() - interval '5 minutes'") == 0);
        Assert.That(await Database.ReadAsync<bool>("select exists (select from token_service.used_jti where key = sha256('kept'))"));
    }

    private static byte[] TwinOf(byte[] signature)
    {
        // The order of P-256 (FIPS 186-4, D.1.2.3).
        var order = System.Numerics.BigInteger.Parse(
            "0FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", System.Globalization.NumberStyles.HexNumber,
            System.Globalization.CultureInfo.InvariantCulture);
        var s = new System.Numerics.BigInteger(signature.AsSpan(32), isUnsigned: true, isBigEndian: true);
        var twin = (order - s).ToByteArray(isUnsigned: true, isBigEndian: true);
        return [.. signature[..32], .. new byte[32 - twin.Length], .. twin];
    }
}
