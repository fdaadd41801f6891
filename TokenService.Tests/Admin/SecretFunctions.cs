using Npgsql;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>Secrets as the functions add, rotate, revoke and retire them.</summary>
[TestFixture]
public sealed class SecretFunctions : AdminFixture
{
    // When these tests take place; what they add through functions is made before.
    private const string Now = "timestamptz '2040-01-31 00:00Z'";

    [SetUp]
    public Task SetInstant() => Database.SetInstantAsync(Now);

    private static readonly Dictionary<string, string> ValidSecret = new()
    {
        ["p_client_id"] = "'billing'",
        ["p_secret_id"] = "'BBBBBBBBBBBB'",
        ["p_digest"] = Digest,
    };

    private static int clients;

    private static IEnumerable<TestCaseData> RefusedSecrets() =>
    [
        .. RefusedClientIds(),
        .. RefusedSecretsOf("billing"),
        .. Refused("p_label", ["''", "repeat('x', 201)"],
            PostgresErrorCodes.CheckViolation, "The label of the secret is empty or longer than 200 characters.",
            "Say in a few words where the secret is kept, or leave the label out."),
        .. Refused("p_not_before", ["'20270-01-31'", "'infinity'", "'-infinity'"],
            PostgresErrorCodes.CheckViolation, "A date is not between the years 1900 and 9000.",
            "Check the year, or leave the date out."),
        .. Refused("p_expires_at", ["'20270-01-31'", "'infinity'", "'-infinity'"],
            PostgresErrorCodes.CheckViolation, "A date is not between the years 1900 and 9000.",
            "Check the year, or leave the date out."),
        .. Refused("p_expires_at", ["now()", "now() - interval '1 second'"],
            PostgresErrorCodes.CheckViolation, "The secret would expire before it could be used.",
            "Choose an expires_at after now and after not_before, or leave it out."),
    ];

    private static IEnumerable<TestCaseData> RefusedRotations() =>
    [
        .. RefusedSecrets(),
        .. Refused("p_overlap", ["null", "'-1 second'", "'1 hour -61 minutes'"],
            PostgresErrorCodes.CheckViolation, "The overlap is missing or negative.",
            "Say for how long the old secrets still work, such as '24 hours'; '0' ends them at once."),
        .. Refused("p_overlap", ["'30 days 1 second'", "'2 months'"],
            PostgresErrorCodes.CheckViolation, "The overlap is longer than 30 days, the longest the policy allows.",
            "Choose a shorter one, or raise max_overlap with scripts/set-policy.sql."),
        .. Refused("p_newest_secret_id", ["'NoLongerSoAA'", "''"],
            PostgresErrorCodes.SerializationFailure, "Somebody else has just changed the secrets of client \"billing\".",
            "Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end their new secret too."),
    ];

    // An old secret's dates, and what a rotation at midnight of 31 January 2040 makes of them.
    private static IEnumerable<TestCaseData> Rotations() =>
    [
        new("'24 hours'", "null", "2039-01-01 00:00", "null", "ends 2040-02-01 00:00"),
        new("'0'", "null", "2039-01-01 00:00", "null", "ends 2040-01-31 00:00"),
        new("'30 days'", "null", "2039-01-01 00:00", "null", "ends 2040-03-01 00:00"),
        // The old one lives until the new one begins, and the overlap on top of that.
        new("'24 hours'", "'2040-02-10 00:00Z'", "2039-01-01 00:00", "null", "ends 2040-02-11 00:00"),
        new("'0'", "'2040-02-10 00:00Z'", "2039-01-01 00:00", "null", "ends 2040-02-10 00:00"),
        // A new one that began in the past is one that begins now.
        new("'24 hours'", "'2039-02-10 00:00Z'", "2039-01-01 00:00", "null", "ends 2040-02-01 00:00"),
        // An end is brought forward, never put off.
        new("'24 hours'", "null", "2039-01-01 00:00", "'2040-03-01 00:00Z'", "ends 2040-02-01 00:00"),
        new("'24 hours'", "null", "2039-01-01 00:00", "'2040-02-01 00:00Z'", "ends 2040-02-01 00:00"),
        new("'24 hours'", "null", "2039-01-01 00:00", "'2040-01-31 00:01Z'", "ends 2040-01-31 00:01"),
        new("'24 hours'", "null", "2039-01-01 00:00", "'2039-02-01 00:00Z'", "ends 2039-02-01 00:00"),
        // One that has yet to begin has what is left of the overlap; one that would begin after it never does.
        new("'24 hours'", "null", "2040-01-31 12:00", "null", "ends 2040-02-01 00:00"),
        new("'24 hours'", "null", "2040-02-01 00:00", "null", "revoked 2040-01-31 00:00"),
        new("'24 hours'", "null", "2040-02-02 00:00", "'2040-03-01 00:00Z'", "ends 2040-03-01 00:00, revoked 2040-01-31 00:00"),
        new("'0'", "null", "2040-01-31 00:00", "null", "revoked 2040-01-31 00:00"),
    ];

    private static IEnumerable<TestCaseData> IdleTimes() =>
        Refused("p_idle", ["null", "'0'", "'119 seconds'", "'-30 days'", "'3650 days 1 second'"],
            PostgresErrorCodes.CheckViolation, "The idle time is not 2 minutes to 3650 days.",
            "Usage is written every 30 seconds: a shorter time would miss some. Say something like '30 days'.");

    [TestCaseSource(nameof(RefusedSecrets))]
    public Task A_secret_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("add_secret", new(ValidSecret) { [argument] = value }), state, message, hint);

    [Test]
    public Task A_secret_that_would_expire_before_it_begins_is_refused() =>
        IsRefusedAsync(
            Call("add_secret", new(ValidSecret) { ["p_not_before"] = "'2030-01-01'", ["p_expires_at"] = "'2030-01-01'" }),
            PostgresErrorCodes.CheckViolation, "The secret would expire before it could be used.",
            "Choose an expires_at after now and after not_before, or leave it out.");

    [Test]
    public async Task A_secret_is_added_beside_the_others_with_the_properties_that_are_passed()
    {
        var client = await ClientAsync();
        await Database.ExecuteAsync(
            Call("add_secret", new(ValidSecret)
            {
                ["p_client_id"] = $"'{client}'",
                ["p_secret_id"] = "'GivenGiven11'",
                ["p_label"] = "'in the vault'",
                ["p_not_before"] = "'2030-01-01Z'",
                ["p_expires_at"] = "'2031-01-01Z'",
            }));
        Assert.That(
            await RowsAsync(
                $"""
                select id, label, not_before = '2030-01-01Z', expires_at = '2031-01-01Z', digest = {Digest}, revoked_at
                from token_service.client_secret where client_id = '{client}' order by created_at
                """),
            Is.EqualTo([$"{First(client)} | - | False | - | True | -", "GivenGiven11 | in the vault | True | True | True | -"]));
    }

    [Test]
    public async Task A_secret_without_not_before_begins_now()
    {
        var client = await ClientAsync();
        await AddAsync(client, "BeginsNow111", ("p_not_before", "null"));
        Assert.That(
            await Database.ReadAsync<bool>("select not_before <= now() from token_service.client_secret where id = 'BeginsNow111'"),
            Is.True);
    }

    [Test]
    public async Task A_client_has_any_number_of_generated_secrets()
    {
        var client = await ClientAsync();
        for (var i = 0; i < 20; i++)
            await Database.AddSecretAsync(client, GeneratedSecret.Create().Value);

        Assert.That(
            await Database.ReadAsync<int>($"select count(*) from token_service.client_secret where client_id = '{client}'"),
            Is.EqualTo(21));
    }

    [Test]
    public async Task A_client_has_at_most_four_imported_secrets_alive()
    {
        var client = await ClientAsync();
        for (var i = 0; i < 4; i++)
            await Database.AddSecretAsync(client, Plaintext);
        await RefusesAFifthAsync();
        await Database.AddSecretAsync(client, GeneratedSecret.Create().Value);

        // Dead secrets do not count, whether they were revoked or have expired.
        await EndOneAsync("revoked_at = now()");
        await Database.AddSecretAsync(client, Plaintext);
        await RefusesAFifthAsync();
        await EndOneAsync("not_before = now() - interval '1 hour', expires_at = now()");
        await Database.AddSecretAsync(client, Plaintext);
        await RefusesAFifthAsync();

        Task EndOneAsync(string how) => Database.ExecuteAsync(
            $"""
            update token_service.client_secret set {how}
            where id = (
                select id from token_service.client_secret
                where client_id = '{client}' and id like 'imported%' and revoked_at is null and expires_at is null limit 1)
            """);

        Task RefusesAFifthAsync() => IsRefusedAsync(
            Call("add_secret", new(ValidSecret) { ["p_client_id"] = $"'{client}'", ["p_secret_id"] = "'imported_BBBBBBBBBBBB'" }),
            PostgresErrorCodes.ProgramLimitExceeded,
            $"Client \"{client}\" already has 4 imported secrets alive.",
            "Revoke one, or use a secret made by \"TokenService secret new\", of which there may be any number.");
    }

    [Test]
    public async Task The_newest_secret_is_the_one_added_last_and_not_revoked()
    {
        var client = await ClientAsync();
        // The order holds within one transaction too, and does not depend on the ids.
        await Database.ExecuteAsync(
            $"""
            select token_service.add_secret('{client}', 'zzzzzzzzzzzz', {Digest});
            select token_service.add_secret('{client}', 'AAAAAAAAAAAA', {Digest});
            select token_service.add_secret('{client}', 'MMMMMMMMMMMM', {Digest})
            """);
        foreach (var newest in new[] { "MMMMMMMMMMMM", "AAAAAAAAAAAA", "zzzzzzzzzzzz", First(client) })
        {
            Assert.That(await NewestAsync(), Is.EqualTo(newest));
            await Database.ExecuteAsync($"select token_service.revoke_secret('{client}', '{newest}')");
        }

        Assert.That(await NewestAsync(), Is.Null);

        Task<string?> NewestAsync() => Database.ReadAsync<string>($"select token_service.newest_secret_id('{client}')");
    }

    [TestCaseSource(nameof(RefusedRotations))]
    public Task A_rotation_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("rotate_secret", new(ValidSecret) { [argument] = value }), state, message, hint);

    [TestCaseSource(nameof(Rotations))]
    public async Task A_rotation_ends_the_old_secrets(string overlap, string newBegins, string begins, string ends, string expected)
    {
        var client = await ClientAsync();
        var secret = await SecretAsync(client, begins, ends);
        var made = GeneratedSecret.NewSelector();
        await RotateAsync(client, made, ("p_overlap", overlap), ("p_not_before", newBegins));

        Assert.That(await LifeAsync(secret), Is.EqualTo(expected));
        Assert.That(await LifeAsync(made), Is.Empty);
    }

    [Test]
    public async Task A_rotation_ends_the_other_live_secrets_and_returns_when()
    {
        var client = await ClientAsync();
        var secrets = new[] { await SecretAsync(client), await SecretAsync(client), await SecretAsync(client) };
        await Database.SetInstantAsync("'2039-06-01Z'");
        await Database.ExecuteAsync($"select token_service.revoke_secret('{client}', '{secrets[1]}')");
        await Database.SetInstantAsync(Now);
        var other = await ClientAsync();

        var ends = await RotateAsync(
            client, "RotatedInto2", ("p_label", "'the new one'"), ("p_expires_at", "'2041-01-01Z'"),
            ("p_newest_secret_id", $"'{First(client)}'"));

        using (Assert.EnterMultipleScope())
        {
            // The default overlap is 24 hours.
            Assert.That(ends, Is.EqualTo("2040-02-01 00:00"));
            Assert.That(await LifeAsync(First(client)), Is.EqualTo("ends 2040-02-01 00:00"));
            Assert.That(await LifeAsync(secrets[0]), Is.EqualTo("ends 2040-02-01 00:00"));
            Assert.That(await LifeAsync(secrets[1]), Is.EqualTo("revoked 2039-06-01 00:00"));
            Assert.That(await LifeAsync(secrets[2]), Is.EqualTo("ends 2040-02-01 00:00"));
            Assert.That(await LifeAsync("RotatedInto2"), Is.EqualTo("ends 2041-01-01 00:00"));
            Assert.That(await LifeAsync(First(other)), Is.Empty, "the secret of another client is left alone");
            Assert.That(
                await Database.ReadAsync<string>("select label from token_service.client_secret where id = 'RotatedInto2'"),
                Is.EqualTo("the new one"));
        }
    }

    [Test]
    public async Task The_second_of_two_rotations_at_the_same_time_is_refused()
    {
        var client = await ClientAsync();
        await using var first = await Database.Source.OpenConnectionAsync();
        await using var transaction = await first.BeginTransactionAsync();
        await using var rotation = new NpgsqlCommand(Rotation("RotatedOnce1"), first);
        await rotation.ExecuteNonQueryAsync();

        var second = Database.ExecuteAsync(Rotation("RotatedTwice"));
        await Soon.IsAsync("the second waits for the first", IsSomebodyWaitingAsync);
        await transaction.CommitAsync();

        await IsRefusedAsync(
            () => second,
            PostgresErrorCodes.SerializationFailure, $"Somebody else has just changed the secrets of client \"{client}\".",
            "Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end their new secret too.");
        Assert.That(await LifeAsync("RotatedOnce1"), Is.Empty);

        string Rotation(string id) => Call("rotate_secret", new(ValidSecret)
        {
            ["p_client_id"] = $"'{client}'",
            ["p_secret_id"] = $"'{id}'",
            ["p_newest_secret_id"] = $"'{First(client)}'",
        });
    }

    [TestCaseSource(nameof(RefusedClientIds))]
    public Task The_secret_of_an_unknown_client_is_not_revoked(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("revoke_secret", new() { [argument] = value, ["p_secret_id"] = "'UsedUsedUsed'" }), state, message, hint);

    [TestCase("null")]
    [TestCase("'NoSuchSecret'")]
    [TestCase($"'{Plaintext}'")]
    [TestCase("'UsedUsedUsed'", Description = "another client's")]
    public async Task A_secret_that_the_client_does_not_have_is_not_revoked(string secret)
    {
        var client = await ClientAsync();
        await IsRefusedAsync(
            $"select token_service.revoke_secret('{client}', {secret})",
            PostgresErrorCodes.NoDataFound, $"Client \"{client}\" has no such secret.",
            "scripts/show-client.sql shows the ids of its secrets.");
    }

    [Test]
    public async Task A_secret_is_revoked_once_and_without_a_warning_if_it_is_not_used()
    {
        var client = await ClientAsync();
        var secret = await SecretAsync(client);
        var revoke = $"select token_service.revoke_secret('{client}', '{secret}')";
        Assert.That(await WarningsOfAsync(revoke), Is.Empty);
        Assert.That(await LifeAsync(secret), Is.EqualTo("revoked 2040-01-31 00:00"));

        await ChangesNothingAsync(revoke);
        await Database.SetInstantAsync($"{Now} + interval '1 day'");
        await ChangesNothingAsync(revoke);
        Assert.That(await WarningsOfAsync(revoke), Is.Empty);

        // An earlier revocation replaces a later one.
        await Database.SetInstantAsync($"{Now} - interval '1 day'");
        await Database.ExecuteAsync(revoke);
        Assert.That(await LifeAsync(secret), Is.EqualTo("revoked 2040-01-30 00:00"));
    }

    [TestCase("6 days 23 hours", "'192.0.2.7'", "192.0.2.7")]
    [TestCase("1 second", "'2001:db8::7'", "2001:db8::7")]
    [TestCase("1 second", "null", "unknown")]
    [TestCase("7 days", "'192.0.2.7'", null)]
    public async Task Revoking_a_secret_in_use_warns(string ago, string from, string? shown)
    {
        var client = await ClientAsync();
        var secret = await SecretAsync(client);
        await UseAsync(secret, $"{Now} - interval '{ago}'", from);
        var warnings = await WarningsOfAsync(
            $"set timezone = 'UTC'; select token_service.revoke_secret('{client}', '{secret}')");
        var at = await Database.ReadAsync<string>(
            $"select to_char(({Now} - interval '{ago}') at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')");
        Assert.That(warnings, Is.EqualTo<string[]>(shown is null
            ? []
            : [$"WARNING: The secret was still used, last at {at}+00 from {shown}. The client needs another secret there now."]));
    }

    // The dates of the client's other secret, and whether the revoked one is therefore its last.
    [TestCase("2040-01-31 00:00", "null", false)]
    [TestCase("2040-01-31 00:01", "null", true, Description = "not yet alive")]
    [TestCase("2039-01-01 00:00", "'2040-01-31 00:01Z'", false)]
    [TestCase("2039-01-01 00:00", "'2040-01-31 00:00Z'", true, Description = "just expired")]
    public async Task Revoking_the_last_live_secret_warns(string begins, string ends, bool isLast)
    {
        var client = await ClientAsync();
        await SecretAsync(client, begins, ends);
        Assert.That(
            await WarningsOfAsync($"select token_service.revoke_secret('{client}', '{First(client)}')"),
            Is.EqualTo<string[]>(isLast
                ? [
                    $"WARNING: Client \"{client}\" has no live secret left, so it can get no token. "
                    + "Give it one with scripts/add-secret.sql, or disable it with scripts/disable-client.sql.",
                ]
                : []));
    }

    // When each of a client's secrets was made and last used; the numbers of those that are retired on 31 January 2040,
    // with an idle time of 30 days.
    [TestCase("2039-01-01 -, 2039-02-01 -", "1", Description = "never used")]
    [TestCase("2039-01-01 -", "", Description = "the only one")]
    [TestCase("2039-01-01 2039-12-31, 2039-02-01 2040-01-30", "1", Description = "used, but long ago")]
    [TestCase("2039-01-01 2040-01-01, 2039-02-01 -", "", Description = "used 30 days ago")]
    [TestCase("2039-01-01 2040-01-30, 2039-02-01 -", "", Description = "used, while its successor is not")]
    [TestCase("2039-01-01 -, 2039-01-01 -", "", Description = "neither is newer")]
    [TestCase("2040-01-02 -, 2040-01-03 -", "", Description = "too young to be idle")]
    [TestCase("2039-01-01 -, 2039-02-01 2040-01-30, 2039-03-01 -", "1", Description = "the newest is kept, used or not")]
    [TestCase("2039-01-01 -, 2039-02-01 -, 2039-03-01 -", "1 2")]
    public async Task A_secret_that_is_idle_and_has_a_newer_sibling_is_retired(string secrets, string expected)
    {
        var client = await ClientAsync(withSecret: false);
        var ids = new List<string>();
        foreach (var (made, used) in secrets.Split(", ").Select(secret => secret.Split(' ')).Select(dates => (dates[0], dates[1])))
        {
            ids.Add(await SecretAsync(client, made));
            if (used != "-")
                await UseAsync(ids[^1], $"'{used} 00:00Z'");
        }

        var retired = expected.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(number => ids[int.Parse(number, null) - 1]).Order();
        var dryRun = await RetiredAsync(client, "true");
        Assert.That(dryRun, Is.EqualTo(retired.Select(id => $"{id} | {ids[^1]}")));
        Assert.That(await LivesAsync(), Has.All.Empty, "a dry run changes nothing");

        Assert.That((await RetiredAsync(client, "false")).Order(), Is.EqualTo(dryRun));
        Assert.That(await LivesAsync(), Is.EqualTo(ids.Select(id => retired.Contains(id) ? "revoked 2040-01-31 00:00" : "")));
        Assert.That(await RetiredAsync(client, "false"), Is.Empty, "the second call retires nothing");

        async Task<List<string?>> LivesAsync()
        {
            var lives = new List<string?>();
            foreach (var id in ids)
                lives.Add(await LifeAsync(id));
            return lives;
        }
    }

    // The newer sibling, and whether the function counts it as newer and alive.
    [TestCase("not_before = '2040-02-01Z'", false, Description = "has not begun")]
    [TestCase("expires_at = '2040-01-31Z'", false, Description = "has expired")]
    [TestCase("expires_at = '2040-02-01Z'", true)]
    [TestCase("revoked_at = '2039-06-01Z'", false)]
    [TestCase("created_at = '2038-01-01Z'", false, Description = "is not newer")]
    public async Task A_sibling_counts_only_when_it_is_newer_and_alive(string sibling, bool counts)
    {
        var client = await ClientAsync(withSecret: false);
        var old = await SecretAsync(client, "2039-01-01");
        var newer = await SecretAsync(client, "2039-02-01");
        await Database.ExecuteAsync($"update token_service.client_secret set {sibling} where id = '{newer}'");
        await UseAsync(newer, $"{Now} - interval '1 day'");
        Assert.That(await RetiredAsync(client, "true"), Is.EqualTo<string[]>(counts ? [$"{old} | {newer}"] : []));
    }

    [Test]
    public async Task Idle_time_counts_from_when_a_secret_could_first_be_used()
    {
        var client = await ClientAsync(withSecret: false);
        var old = await SecretAsync(client, "2039-01-01");
        await SecretAsync(client, "2039-02-01");
        await Database.ExecuteAsync($"update token_service.client_secret set not_before = '2040-01-02Z' where id = '{old}'");
        Assert.That(await RetiredAsync(client, "true"), Is.Empty);
        await Database.ExecuteAsync($"update token_service.client_secret set not_before = '2039-12-31Z' where id = '{old}'");
        Assert.That(await RetiredAsync(client, "true"), Has.Length.EqualTo(1));
    }

    [Test]
    public async Task Retiring_is_a_dry_run_by_default_and_shows_the_last_use()
    {
        var client = await ClientAsync(withSecret: false);
        var old = await SecretAsync(client, "2039-01-01");
        var newer = await SecretAsync(client, "2039-02-01");
        await UseAsync(old, "'2039-06-01Z'");
        await Database.ExecuteAsync($"update token_service.client_secret set label = 'old' where id = '{old}'");
        foreach (var arguments in new[] { "'30 days'", "'30 days', null", "'30 days', false" })
        {
            Assert.That(
                await RowsAsync(
                    $"""
                    select client_id, secret_id, label, last_used_at = '2039-06-01Z', newer_secret_id
                    from token_service.retire_unused_secrets({arguments})
                    where client_id = '{client}'
                    """),
                Is.EqualTo([$"{client} | {old} | old | True | {newer}"]));
        }

        Assert.That(await LifeAsync(old), Is.EqualTo("revoked 2040-01-31 00:00"), "the call that was no dry run revoked it");
    }

    [TestCaseSource(nameof(IdleTimes))]
    public Task An_idle_time_that_is_too_short_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("retire_unused_secrets", new() { [argument] = value, ["p_dry_run"] = "false" }), state, message, hint);

    [Test]
    public async Task Retiring_waits_for_a_transaction_that_revokes_the_newer_sibling()
    {
        var client = await ClientAsync(withSecret: false);
        var old = await SecretAsync(client, "2039-01-01");
        var newer = await SecretAsync(client, "2039-02-01");
        await using var first = await Database.Source.OpenConnectionAsync();
        await using var transaction = await first.BeginTransactionAsync();
        await using var revocation = new NpgsqlCommand(
            $"select token_service.revoke_secret('{client}', '{newer}')", first);
        await revocation.ExecuteNonQueryAsync();

        var retired = RetiredAsync(client, "false");
        await Soon.IsAsync(
            "retire_unused_secrets waits for the revocation", async () => retired.IsCompleted || await IsSomebodyWaitingAsync());
        await transaction.CommitAsync();

        Assert.That(await retired, Is.Empty);
        Assert.That(await LifeAsync(old), Is.Empty, "the client still has a live secret");
    }

    private static string First(string client) => $"{client}AAAAAAAAAAAA"[..12];

    // Makes a client that only this test uses, with a secret from 2020.
    private async Task<string> ClientAsync(bool withSecret = true)
    {
        var client = $"client{++clients:000}";
        await Database.CreateClientAsync(client, "parcels:read", "");
        await Database.ExecuteAsync($"delete from token_service.client_secret where client_id = '{client}'");
        if (withSecret)
        {
            await Database.ExecuteAsync(
                $"""
                insert into token_service.client_secret (id, client_id, digest, not_before, created_at)
                values ('{First(client)}', '{client}', {Digest}, '2020-01-01Z', '2020-01-01Z')
                """);
        }

        return client;
    }

    // Makes a secret whose date of creation is the date on which it begins.
    private async Task<string> SecretAsync(string client, string begins = "2019-01-01", string ends = "null")
    {
        var id = GeneratedSecret.NewSelector();
        await Database.ExecuteAsync(
            $"""
            insert into token_service.client_secret (id, client_id, digest, not_before, expires_at, created_at)
            values ('{id}', '{client}', {Digest}, '{begins}Z', {ends}, '{begins}Z')
            """);
        return id;
    }

    private Task AddAsync(string client, string id, params (string Argument, string Value)[] more) =>
        Database.ExecuteAsync(Call("add_secret", Arguments(client, id, more)));

    private Task<string?> RotateAsync(string client, string id, params (string Argument, string Value)[] more) =>
        Database.ReadAsync<string>(
            $"""
            select to_char(({Call("rotate_secret", Arguments(client, id, more))}) at time zone 'UTC',
                           'YYYY-MM-DD HH24:MI')
            """);

    private static Dictionary<string, string> Arguments(string client, string id, (string Argument, string Value)[] more)
    {
        var arguments = new Dictionary<string, string>(ValidSecret) { ["p_client_id"] = $"'{client}'", ["p_secret_id"] = $"'{id}'" };
        foreach (var (argument, value) in more)
            arguments[argument] = value;
        return arguments;
    }

    private Task UseAsync(string secret, string at, string from = "null") => Database.ExecuteAsync(
        $"""
        insert into token_service.credential_use
        select 'secret', id, client_id, {at}, {at}, {from}, 1 from token_service.client_secret where id = '{secret}'
        """);

    private Task<string?> LifeAsync(string secret) => Database.ReadAsync<string>(
        $"""
        select concat_ws(', ', 'ends ' || to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'),
                               'revoked ' || to_char(revoked_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'))
        from token_service.client_secret where id = '{secret}'
        """);

    private async Task<string[]> RetiredAsync(string client, string dryRun) =>
        await RowsAsync(
            $"""
            with retired as materialized (select * from token_service.retire_unused_secrets('30 days', {dryRun}))
            select secret_id, newer_secret_id from retired where client_id = '{client}' order by secret_id
            """);

    private Task<bool> IsSomebodyWaitingAsync() => Database.ReadAsync<bool>(
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')");
}
