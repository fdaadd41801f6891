using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>set_policy changes the rules for all clients; most cases are about the maximum age of secrets.</summary>
[TestFixture]
public sealed class PolicyFunction : AdminFixture
{
    private const string Untouched = "- | 30.00:00:00 | 38912";

    private const string RotateFirst =
        "Rotate the oldest first: scripts/credentials-report.sql shows when each was made. Pass -v at_once=on to end them all the same.";

    private static IEnumerable<TestCaseData> RefusedPolicies() =>
    [
        .. Refused("p_max_secret_age", ["'23:59:59'", "'3650 days 1 second'", "'-90 days'"],
            PostgresErrorCodes.CheckViolation, "The maximum secret age is not 1 to 3650 days.",
            "Say something like '90 days'; '0' is no maximum."),
        .. Refused("p_max_overlap", ["'-1 second'", "'365 days 1 second'"],
            PostgresErrorCodes.CheckViolation, "The maximum overlap is not 0 to 365 days.", "Say something like '30 days'."),
        .. Refused("p_min_digest_cost", ["8191", "655361", "0", "-1"],
            PostgresErrorCodes.CheckViolation, "The minimum digest cost is not 8192 to 655360.",
            "It is m (KiB) times t, as in Hashing:MemoryKiB and Hashing:Iterations: 38912 for 19456 and 2."),
    ];

    // When the only secret was made and expires; whether a maximum age of 90 days is accepted at noon of 1 July 2040.
    private static IEnumerable<TestCaseData> Ends() =>
    [
        new("2040-01-01", "null", false),
        new("2040-04-09 12:00", "null", false),
        new("2040-04-09 12:01", "null", true),
        // The maximum age ends neither a secret that is dead by then nor one that expires before it would be too old.
        new("2040-01-01", "'2040-01-02Z'", true),
        new("2040-04-03", "'2040-07-01 12:00Z'", true),
        new("2040-04-03", "'2040-07-02Z'", true),
        new("2040-04-03", "'2040-07-02 12:00Z'", false),
    ];

    [SetUp]
    public Task SetInstant() => Database.SetInstantAsync("'2040-07-01 12:00Z'");

    [TearDown]
    public Task RestorePolicy() => Database.ExecuteAsync(
        """
        delete from token_service.client_secret;
        update token_service.policy set max_secret_age = null, max_overlap = default, min_digest_cost = default
        """);

    [TestCaseSource(nameof(RefusedPolicies))]
    public Task A_policy_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("set_policy", new() { [argument] = value }), state, message, hint);

    [TestCase("", Untouched)]
    [TestCase("p_max_secret_age => '90 days'", "90.00:00:00 | 30.00:00:00 | 38912")]
    [TestCase("p_max_secret_age => '1 day'", "1.00:00:00 | 30.00:00:00 | 38912")]
    [TestCase("p_max_secret_age => '3650 days'", "3650.00:00:00 | 30.00:00:00 | 38912")]
    [TestCase("p_max_secret_age => '0'", Untouched)]
    [TestCase("p_max_overlap => '0'", "- | 00:00:00 | 38912")]
    [TestCase("p_max_overlap => '365 days'", "- | 365.00:00:00 | 38912")]
    [TestCase("p_min_digest_cost => 8192", "- | 30.00:00:00 | 8192")]
    [TestCase("p_min_digest_cost => 655360", "- | 30.00:00:00 | 655360")]
    public async Task A_policy_keeps_the_rules_that_are_not_passed(string arguments, string expected)
    {
        await Database.ExecuteAsync("delete from token_service.client_secret");
        await Database.ExecuteAsync($"select token_service.set_policy({arguments})");
        Assert.That(await PolicyAsync(), Is.EqualTo([expected]));
        await ChangesNothingAsync($"select token_service.set_policy({arguments})");
    }

    [Test]
    public async Task A_maximum_age_of_0_removes_the_maximum_age()
    {
        await Database.ExecuteAsync("delete from token_service.client_secret; select token_service.set_policy('90 days')");
        await Database.ExecuteAsync("select token_service.set_policy('0')");
        Assert.That(await PolicyAsync(), Is.EqualTo([Untouched]));
    }

    [TestCaseSource(nameof(Ends))]
    public async Task A_maximum_age_that_ends_live_secrets_within_a_week_is_refused(string made, string expires, bool isAccepted)
    {
        await OnlySecretAsync(made, expires);
        const string Call = "select token_service.set_policy('90 days')";
        if (isAccepted)
            await Database.ExecuteAsync(Call);
        else
        {
            await IsRefusedAsync(
                Call, PostgresErrorCodes.ObjectNotInPrerequisiteState,
                "With that maximum age live secrets would end now or within 7 days: 1.", RotateFirst);
        }
    }

    [Test]
    public async Task A_maximum_age_with_at_once_may_end_live_secrets()
    {
        await OnlySecretAsync("2039-01-01", "null");
        await Database.ExecuteAsync("select token_service.set_policy('90 days', p_at_once => true)");
        Assert.That(await PolicyAsync(), Is.EqualTo(["90.00:00:00 | 30.00:00:00 | 38912"]));
    }

    [Test]
    public async Task A_policy_that_changes_nothing_or_ends_secrets_later_is_not_refused()
    {
        await OnlySecretAsync("2040-04-04", "null");
        await Database.ExecuteAsync("select token_service.set_policy('90 days', p_at_once => true)");
        await ChangesNothingAsync("select token_service.set_policy('90 days')");
        await Database.ExecuteAsync("select token_service.set_policy('91 days')");
    }

    [TestCase("'2040-01-01Z'", "null", "-")]
    [TestCase("'2040-01-01Z'", "'2041-01-01Z'", "2041-01-01")]
    public async Task A_secret_without_a_maximum_age_ends_at_its_own_date(string made, string expires, string expected) =>
        Assert.That(await EndsAtAsync(made, expires), Is.EqualTo([expected]));

    [TestCase("'2040-01-01Z'", "null", "2040-03-31")]
    [TestCase("'2040-01-01Z'", "'2040-03-30Z'", "2040-03-30")]
    [TestCase("'2040-01-01Z'", "'2040-04-01Z'", "2040-03-31")]
    public async Task A_secret_ends_at_the_maximum_age_at_the_latest(string made, string expires, string expected)
    {
        await Database.ExecuteAsync("update token_service.policy set max_secret_age = '90 days'");
        Assert.That(await EndsAtAsync(made, expires), Is.EqualTo([expected]));
    }

    // The maximum age counts from now, so the dates of the cases do too.
    [TestCase("now() + interval '365 days'", true)]
    [TestCase("now() + interval '89 days'", false)]
    [TestCase("null", false)]
    public async Task A_secret_that_will_be_too_old_before_it_expires_is_added_with_a_warning(string expires, bool warns)
    {
        await Database.ExecuteAsync("update token_service.policy set max_secret_age = '90 days'");
        var warnings = await WarningsOfAsync(
            $"select token_service.add_secret('billing', 'AddedAdded11', {Digest}, p_expires_at => {expires})");
        Assert.That(warnings, warns
            ? Has.One.Matches("^WARNING: The secret ends at [-0-9:.+ ]+, by the policy's max_secret_age. Rotate it before then.$")
            : Is.Empty);
        Assert.That(
            await RowsAsync("select id from token_service.client_secret where client_id = 'billing'"), Does.Contain("AddedAdded11"));
    }

    [Test]
    public async Task A_secret_that_would_be_too_old_before_it_begins_is_refused()
    {
        await Database.ExecuteAsync("update token_service.policy set max_secret_age = '90 days'");
        await IsRefusedAsync(
            $"select token_service.add_secret('billing', 'AddedAdded11', {Digest}, p_not_before => now() + interval '91 days')",
            PostgresErrorCodes.CheckViolation, "The secret would be too old before it could be used.",
            "The policy's max_secret_age counts from now on. Add the secret later, or with an earlier not_before.");
    }

    [Test]
    public async Task A_secret_that_is_too_old_does_not_count_as_live()
    {
        await OnlySecretAsync("2040-01-01", "null");
        await Database.ExecuteAsync(
            $"""
            update token_service.policy set max_secret_age = '90 days';
            insert into token_service.client_secret (id, client_id, digest, not_before, created_at)
            values ('YoungYoung11', 'billing', {Digest}, '2040-06-01Z', '2040-06-01Z')
            """);
        Assert.That(
            await WarningsOfAsync("select token_service.revoke_secret('billing', 'YoungYoung11')"),
            Is.EqualTo([
                "WARNING: Client \"billing\" has no live secret left, so it can get no token. "
                + "Give it one with scripts/add-secret.sql, or disable it with scripts/disable-client.sql.",
            ]));
    }

    private Task OnlySecretAsync(string made, string expires) => Database.ExecuteAsync(
        $"""
        delete from token_service.client_secret;
        insert into token_service.client_secret (id, client_id, digest, not_before, created_at, expires_at)
        values ('MadeMadeMade', 'billing', {Digest}, '{made}Z', '{made}Z', {expires})
        """);

    private Task<string[]> EndsAtAsync(string made, string expires) =>
        RowsAsync($"select to_char(token_service.secret_ends_at({made}, {expires}) at time zone 'UTC', 'YYYY-MM-DD')");

    private Task<string[]> PolicyAsync() =>
        RowsAsync("select max_secret_age, max_overlap, min_digest_cost from token_service.policy");
}
