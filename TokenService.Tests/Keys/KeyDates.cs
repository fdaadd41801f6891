using Dapper;
using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>The database keeps the dates of a key consistent, also when an admin writes them by hand.</summary>
[TestFixture]
public sealed class KeyDates
{
    private static readonly DateTime Beginning = new(2030, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    private Database database = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase() => database = await Database.CreateAsync();

    [OneTimeTearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [SetUp]
    public Task DeleteKeys() => database.ExecuteAsync("delete from token_service.signing_key");

    // All figures are minutes: signs_until, the longest token, withdrawn_at, and the expected gone_after.
    [TestCase(null, 60, null, null)]
    [TestCase(100, 0, null, 115)]
    [TestCase(100, 60, null, 175)]
    [TestCase(100, 1440, null, 1555)]
    [TestCase(100, 60, 30, 30)]
    [TestCase(null, 60, 30, 30)]
    public async Task A_key_is_gone_a_quarter_of_an_hour_after_its_last_token_or_at_once_when_withdrawn(
        int? signsUntil, int longestToken, int? withdrawnAt, int? goneAfter)
    {
        await InsertAsync("key", signsFrom: 0, signsUntil, longestToken, withdrawnAt);

        Assert.That(await DateAsync("key", "gone_after"), Is.EqualTo(At(goneAfter)));
    }

    [Test]
    public async Task The_database_overrules_a_gone_after_that_is_written_by_hand([Values(null, 0, 5000)] int? written)
    {
        await InsertAsync("key", signsFrom: 0, signsUntil: 100, longestToken: 60);
        await database.ExecuteAsync("update token_service.signing_key set gone_after = @goneAfter", new { goneAfter = At(written) });

        Assert.That(await DateAsync("key", "gone_after"), Is.EqualTo(At(175)));
    }

    [Test]
    public async Task Rotation_brings_the_next_key_forward_to_when_every_verifier_knows_it_and_no_further()
    {
        await InsertAsync("old", signsFrom: 0, signsUntil: 1000);
        await InsertAsync("next", signsFrom: 1000, knownFrom: 117);
        await InsertAsync("other", signsFrom: 1000, knownFrom: 117, algorithm: "RS256");

        for (var call = 0; call < 2; call++)
        {
            Assert.That(
                await RotateAsync("ES256", now: 100 + call), Is.EqualTo([("next", "ES256", At(117))]),
                "a second call changes nothing");
            Assert.That(await DateAsync("old", "signs_until"), Is.EqualTo(At(117)));
            Assert.That(await DateAsync("next", "signs_from"), Is.EqualTo(At(117)));
            Assert.That(await DateAsync("other", "signs_from"), Is.EqualTo(At(1000)));
        }

        Assert.That(
            await RotateAsync(null, now: 300), Is.EqualTo([("other", "RS256", At(300))]),
            "the ES256 key has begun to sign, so it is not the next key");
    }

    [Test]
    public async Task Rotation_of_an_algorithm_without_keys_is_refused()
    {
        var nothing = ("There is no signing key of that algorithm.", "TokenService keys list shows the keys there are.");
        await IsRefusedAsync(nothing, () => RotateAsync(null, now: 0));

        await InsertAsync("key", signsFrom: 0);
        await IsRefusedAsync(nothing, () => RotateAsync("RS256", now: 0));
        await IsRefusedAsync(nothing, () => RotateAsync("none", now: 0));
    }

    // At minute 500 one of three keys is withdrawn. The signing key loses its end with its successor.
    [TestCase("retiring", 1000, 1000)]
    [TestCase("signing", 1000, 1000)]
    [TestCase("next", null, 1000)]
    public async Task Withdrawal_ends_a_key_at_once_and_destroys_only_its_private_half(
        string withdrawn, int? signingUntil, int nextFrom)
    {
        await InsertThreeAsync();
        await WithdrawAsync(withdrawn, now: 500);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(await DateAsync(withdrawn, "withdrawn_at"), Is.EqualTo(At(500)));
            Assert.That(await DateAsync(withdrawn, "gone_after"), Is.EqualTo(At(500)));
            Assert.That(await DateAsync("retiring", "signs_until"), Is.EqualTo(At(400)));
            Assert.That(await DateAsync("signing", "signs_until"), Is.EqualTo(At(signingUntil)));
            Assert.That(await DateAsync("next", "signs_from"), Is.EqualTo(At(nextFrom)));
            Assert.That(await DateAsync("other", "signs_from"), Is.EqualTo(At(1000)), "the key of another algorithm");
            Assert.That(
                await database.ReadAsync<string>(
                    "select string_agg(kid, '') from token_service.signing_key where sealed_private_key is null"),
                Is.EqualTo(withdrawn), "only the private half of the withdrawn key is destroyed");
        }
    }

    [Test]
    public async Task Withdrawing_a_key_twice_changes_nothing()
    {
        await InsertThreeAsync();
        await WithdrawAsync("signing", now: 500);
        await WithdrawAsync("signing", now: 600);

        Assert.That(await DateAsync("signing", "withdrawn_at"), Is.EqualTo(At(500)));
        Assert.That(await DateAsync("signing", "gone_after"), Is.EqualTo(At(500)));
    }

    [Test]
    public async Task An_unknown_kid_is_refused_with_a_hint([Values("unknown", "", null)] string? kid) =>
        await IsRefusedAsync(
            ("There is no signing key of that kid.", "TokenService keys list shows the keys there are."), () => WithdrawAsync(kid, now: 0));

    private async Task InsertThreeAsync()
    {
        await InsertAsync("retiring", signsFrom: 0, signsUntil: 400, longestToken: 600);
        await InsertAsync("signing", signsFrom: 400, signsUntil: 1000);
        await InsertAsync("next", signsFrom: 1000);
        await InsertAsync("other", signsFrom: 1000, algorithm: "RS256");
    }

    private Task InsertAsync(
        string kid, int signsFrom, int? signsUntil = null, int longestToken = 10, int? withdrawnAt = null, int knownFrom = 0,
        string algorithm = "ES256") => database.ExecuteAsync(
        """
        insert into token_service.signing_key (
            kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, signs_from, signs_until,
            withdrawn_at, jwks_max_age_seconds, max_token_lifetime_seconds)
        values (
            @kid, @algorithm, '{}', '', 'test', @publishedAt, @knownFrom, @signsFrom, @signsUntil,
            @withdrawnAt, 300, @longestToken * 60)
        """,
        new
        {
            kid,
            algorithm,
            publishedAt = At(0),
            knownFrom = At(knownFrom),
            signsFrom = At(signsFrom),
            signsUntil = At(signsUntil),
            withdrawnAt = At(withdrawnAt),
            longestToken,
        });

    private async Task<IEnumerable<(string Kid, string Algorithm, DateTime? SignsFrom)>> RotateAsync(string? algorithm, int now)
    {
        await database.SetInstantAsync(At(now)!.Value);
        await using var connection = await database.Source.OpenConnectionAsync();
        return await connection.QueryAsync<(string, string, DateTime?)>(
            "select * from token_service.rotate_signing_key(@algorithm)", new { algorithm });
    }

    private Task WithdrawAsync(string? kid, int now) => database.WithdrawKeyAsync(kid, At(now)!.Value);

    private Task<DateTime?> DateAsync(string kid, string column) =>
        database.ReadAsync<DateTime?>($"select {column} from token_service.signing_key where kid = @kid", new { kid });

    private static async Task IsRefusedAsync((string Message, string Hint) expected, Func<Task> act)
    {
        var refusal = await Assert.ThrowsAsync<PostgresException>(() => act());
        Assert.That((refusal!.MessageText, refusal.Hint), Is.EqualTo(expected));
    }

    private static DateTime? At(int? minute) => minute is { } minutes ? Beginning.AddMinutes(minutes) : null;
}
