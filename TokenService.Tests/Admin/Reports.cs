using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>The reports on secrets, clients and access, as of 31 January 2040.</summary>
[TestFixture]
public sealed class Reports : AdminFixture
{
    private const string Now = "timestamptz '2040-01-31 00:00Z'";

    [SetUp]
    public Task SetInstant() => Database.SetInstantAsync(Now);

    // One secret: its columns, its last use, and its state, end and findings in the report. The client also has a
    // secret from 2020 that was revoked long ago.
    private static IEnumerable<TestCaseData> Secrets() =>
    [
        new("", "", "alive | - | never used"),
        new("", "2039-12-31", "alive | - | idle, but the client has no newer live one"),
        new("", "2040-01-01", "alive | - | "),
        new("", "2040-01-30", "alive | - | "),
        new("not_before = '2040-01-31 00:00Z'", "", "alive | - | never used"),
        new("not_before = '2040-01-31 00:01Z'", "", "to come | - | "),
        new("not_before = '2040-02-01Z', expires_at = '2040-02-10Z'", "", "to come | 2040-02-10 | ends soon"),
        new("expires_at = '2040-01-31 00:01Z'", "2040-01-30", "alive | 2040-01-31 | ends soon"),
        new("expires_at = '2040-01-31 00:00Z'", "2040-01-30", "expired | 2040-01-31 | "),
        new("expires_at = '2040-02-14Z'", "2040-01-30", "alive | 2040-02-14 | ends soon"),
        new("expires_at = '2040-02-15Z'", "2040-01-30", "alive | 2040-02-15 | "),
        new("expires_at = '2040-02-14Z'", "", "alive | 2040-02-14 | never used, ends soon"),
        new("revoked_at = '2040-01-31 00:00Z', expires_at = '2040-02-14Z'", "2040-01-30", "revoked | 2040-01-31 | "),
        new("revoked_at = '2040-01-30Z', expires_at = '2039-12-01Z'", "", "revoked | 2039-12-01 | "),
        new("digest = replace(digest, 'm=19456', 'm=19455')", "2040-01-30", "alive | - | digest weaker than the policy"),
        new("digest = replace(digest, 'm=19456,t=2', 'm=12971,t=3')", "2040-01-30", "alive | - | "),
        new("digest = replace(digest, 't=2', 't=1'), expires_at = '2040-02-01Z'", "",
            "alive | 2040-02-01 | never used, ends soon, digest weaker than the policy"),
        new("digest = replace(digest, 't=2', 't=1'), expires_at = '2040-01-01Z'", "", "expired | 2040-01-01 | "),
    ];

    // The same secret, when the client also has a newer one.
    private static IEnumerable<TestCaseData> SecretsWithNewer() =>
    [
        new("", "alive | - | safe to retire"),
        new("2039-12-31", "alive | - | safe to retire"),
        new("2040-01-01", "alive | - | still used"),
        new("2040-01-30", "alive | - | still used"),
    ];

    private static IEnumerable<TestCaseData> IdleTimes() =>
        Refused("p_idle", ["null", "'119 seconds'", "'-30 days'"],
            PostgresErrorCodes.CheckViolation, "The idle time is not 2 minutes to 3650 days.",
            "Usage is written every 30 seconds: a shorter time would miss some. Say something like '30 days'.");

    [SetUp]
    public Task OneSecret() => Database.ExecuteAsync(
        $"""
        delete from token_service.credential_use;
        delete from token_service.client_secret;
        insert into token_service.client_secret (id, client_id, digest, label, not_before, created_at, revoked_at)
        values ('OldOldOldOld', 'billing', {Digest}, null, '2020-01-01Z', '2020-01-01Z', '2020-02-01Z'),
               ('ThisThisThis', 'billing', {Digest}, 'this', '2039-01-01Z', '2039-01-01Z', null)
        """);

    [TearDown]
    public Task RestoreClients() => Database.ExecuteAsync(
        """
        delete from token_service.client where id <> 'billing';
        delete from token_service.client_key;
        update token_service.client set enabled = true, sender_constraint = null;
        update token_service.resource set sender_constraint = null;
        insert into token_service.client_scope (client_id, resource, scope)
        values ('billing', 'https://api.example.com', 'parcels:read') on conflict do nothing;
        update token_service.policy set max_secret_age = null;
        """);

    [TestCaseSource(nameof(Secrets))]
    public async Task The_report_shows_the_state_and_findings_of_a_secret(string columns, string used, string expected)
    {
        if (columns != "")
            await Database.ExecuteAsync($"update token_service.client_secret set {columns} where id = 'ThisThisThis'");
        await UseAsync("ThisThisThis", used);
        Assert.That(await StateAsync(), Is.EqualTo([expected]));
    }

    [TestCaseSource(nameof(SecretsWithNewer))]
    public async Task The_report_shows_whether_a_secret_with_a_newer_one_is_safe_to_retire(string used, string expected)
    {
        await AddNewerAsync();
        await UseAsync("ThisThisThis", used);
        Assert.That(await StateAsync(), Is.EqualTo([expected]));
    }

    // A key: its algorithm and other columns, its last use, and its state, end and findings in the report.
    [TestCase("alg = 'ES256'", "", "alive | - | ES256 | never used")]
    [TestCase("alg = 'ES256'", "2040-01-30", "alive | - | ES256 | ")]
    [TestCase("alg = 'ES256'", "2039-12-31", "alive | - | ES256 | idle")]
    [TestCase("created_at = '1999-12-31Z'", "", "alive | - | ES256 | not used since 2000-01-01")]
    [TestCase("not_before = '2040-02-01Z'", "", "to come | - | ES256 | ")]
    [TestCase("expires_at = '2040-02-14Z'", "2040-01-30", "alive | 2040-02-14 | ES256 | ends soon")]
    [TestCase("expires_at = '2040-02-15Z'", "2040-01-30", "alive | 2040-02-15 | ES256 | ")]
    [TestCase("expires_at = '2040-01-31Z'", "2040-01-30", "expired | 2040-01-31 | ES256 | ")]
    [TestCase("revoked_at = '2040-01-30Z', expires_at = '2040-02-14Z'", "", "revoked | 2040-01-30 | ES256 | ")]
    public async Task The_report_shows_the_state_and_findings_of_a_key(string columns, string used, string expected)
    {
        await AddKeyAsync("this", "ES256", PublicJwk.P256);
        await Database.ExecuteAsync($"update token_service.client_key set {columns} where kid = 'this'");
        if (used != "")
        {
            await Database.ExecuteAsync(
                $"insert into token_service.credential_use values ('key', 'billing this', 'billing', '{used}Z', '{used}Z', null, 1)");
        }

        Assert.That(await KeyAsync(), Is.EqualTo([expected]));
    }

    [Test]
    public async Task A_key_with_a_newer_one_is_still_used_or_idle()
    {
        await AddKeyAsync("this", "ES256", PublicJwk.P256);
        await AddKeyAsync("newer", "ES256", PublicJwk.NewP256(), "2039-02-01Z");
        await Database.ExecuteAsync(
            "insert into token_service.credential_use values ('key', 'billing this', 'billing', '2040-01-30Z', '2040-01-30Z', null, 1)");
        Assert.That(await KeyAsync(), Is.EqualTo(["alive | - | ES256 | still used"]));
        Assert.That(await KeyAsync("p_idle => '2 hours'"), Is.EqualTo(["alive | - | ES256 | idle"]));
    }

    [TestCase("ES256", PublicJwk.P256, "never used, tokens not bound: not for FAPI")]
    [TestCase("Ed25519", PublicJwk.Ed25519, "never used, tokens not bound: not for FAPI")]
    [TestCase("PS256", PublicJwk.Rsa, "never used, tokens not bound: not for FAPI")]
    [TestCase("RS256", PublicJwk.Rsa, "never used, RS256: not for FAPI, tokens not bound: not for FAPI")]
    [TestCase("ES384", PublicJwk.P384, "never used, ES384: not for FAPI, tokens not bound: not for FAPI")]
    public async Task The_report_for_FAPI_marks_secrets_algorithms_and_clients_whose_tokens_are_not_bound(
        string alg, string jwk, string expected)
    {
        await AddKeyAsync("this", alg, jwk);
        Assert.That(await KeyAsync("p_fapi => true"), Is.EqualTo([$"alive | - | {alg} | {expected}"]));
        Assert.That(await KeyAsync(), Is.EqualTo([$"alive | - | {alg} | never used"]));
        Assert.That(
            await StateAsync("p_fapi => true"),
            Is.EqualTo(["alive | - | never used, a secret: not for FAPI, tokens not bound: not for FAPI"]));
    }

    [TestCase("require_sender_constraint('billing', null, 'dpop')")]
    [TestCase("require_sender_constraint(null, 'https://api.example.com', 'dpop')")]
    [TestCase("set_client_enabled('billing', false)")]
    [TestCase("revoke_scope('billing', 'parcels:read')")]
    public async Task A_client_that_can_get_no_unbound_token_is_not_marked(string change)
    {
        await AddKeyAsync("this", "ES256", PublicJwk.P256);
        await Database.ExecuteAsync($"select token_service.{change}");
        Assert.That(await KeyAsync("p_fapi => true"), Is.EqualTo(["alive | - | ES256 | never used"]));
    }

    [Test]
    public async Task Secrets_that_the_report_calls_safe_to_retire_are_the_ones_that_are_retired()
    {
        await AddNewerAsync();
        var safe = await RowsAsync(
            $"select credential_id from token_service.credentials_report() where findings like '%safe to retire%'");
        Assert.That(
            await RowsAsync($"select secret_id from token_service.retire_unused_secrets('30 days', false)"),
            Is.EqualTo(safe).And.EqualTo<string[]>(["ThisThisThis"]));
    }

    [Test]
    public async Task The_report_applies_the_maximum_age_of_secrets()
    {
        await Database.ExecuteAsync("update token_service.policy set max_secret_age = '400 days'");
        Assert.That(await StateAsync(), Is.EqualTo(["alive | 2040-02-05 | never used, ends soon"]));
        await Database.ExecuteAsync("update token_service.policy set max_secret_age = '395 days'");
        Assert.That(await StateAsync(), Is.EqualTo(["expired | 2040-01-31 | "]));
    }

    [Test]
    public async Task The_report_takes_idle_and_soon_from_its_caller()
    {
        await AddNewerAsync();
        await Database.ExecuteAsync("update token_service.client_secret set expires_at = '2040-03-01Z' where id = 'ThisThisThis'");
        await UseAsync("ThisThisThis", "2040-01-29");
        Assert.That(await StateAsync("p_idle => '2 days'"), Is.EqualTo(["alive | 2040-03-01 | still used"]));
        Assert.That(await StateAsync("p_idle => '47 hours'"), Is.EqualTo(["alive | 2040-03-01 | safe to retire"]));
        Assert.That(await StateAsync("p_soon => '30 days'"), Is.EqualTo(["alive | 2040-03-01 | still used, ends soon"]));
    }

    [Test]
    public async Task Each_secret_is_shown_with_its_use_and_without_its_digest()
    {
        await AddClientAsync("another");
        await Database.ExecuteAsync(
            """
            insert into token_service.credential_use
            values ('secret', 'ThisThisThis', 'billing', '2039-01-01Z', '2040-01-30 12:34:56Z', '2001:db8::7', 42)
            """);
        var all = await ReportAsync("");
        var made = "ThisThisThis | this | alive | 2039-01-01 | - | 2040-01-30 12:34:56 | 42 | 2001:db8::7 | m=19456,t=2 | ";
        Assert.That(all, Is.EqualTo([
            "another | secret | anotherAAAAA | - | alive | 2039-01-01 | - | - | 0 | - | m=19456,t=2 | never used",
            "billing | secret | OldOldOldOld | - | revoked | 2020-01-01 | 2020-02-01 | - | 0 | - | m=19456,t=2 | ",
            $"billing | secret | {made}",
        ]));
        Assert.That(await ReportAsync("'billing'"), Is.EqualTo(all[1..]));

        Task<string[]> ReportAsync(string client) => RowsAsync(
            $"""
            select client_id, kind, credential_id, label, state, {Day("made_at")}, {Day("ends_at")},
                   to_char(last_used_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), use_count, last_used_from, strength, findings
            from token_service.credentials_report({client})
            """);
    }

    [Test]
    public async Task Each_client_is_shown_with_its_properties_scopes_and_resources()
    {
        await AddClientAsync("another");
        await Database.ExecuteAsync(
            """
            select token_service.create_resource('https://api.example.com', array['parcels:write']);
            select token_service.grant_scope('another', 'parcels:write', true);
            select token_service.update_client(
                'another', p_token_lifetime => '10 minutes', p_methods => array['client_secret_basic', 'client_secret_post'],
                p_extra_claims => '{"tenant": "north"}', p_tokens_per_minute => 600);
            select token_service.set_client_enabled('another', false);
            select token_service.require_sender_constraint('another', null, 'dpop');
            select token_service.create_resource('https://stock.example.com');
            select token_service.register_resource_server('another', 'https://stock.example.com');
            select token_service.register_resource_server('another', 'https://api.example.com');
            """);
        await UseAsync("ThisThisThis", "2040-01-30");
        await UseAsync("OldOldOldOld", "2020-01-30");

        var all = await ReportAsync("");
        Assert.That(all, Is.EqualTo([
            "another | A client | False | client_secret_basic client_secret_post | dpop | 00:10:00 | 600 | {\"tenant\": \"north\"} | 1 | 0 "
                + "| parcels:read parcels:write | parcels:write | https://api.example.com https://stock.example.com | - | 2039-01-01",
            $"billing | The billing service | True | client_secret_basic | - | - | - | {{}} | 1 | 0 | parcels:read | - | - "
                + $"| 2040-01-30 | {DateTime.UtcNow:yyyy-MM-dd}",
        ]));
        Assert.That(await ReportAsync("'another'"), Is.EqualTo(all[..1]));

        Task<string[]> ReportAsync(string client) => RowsAsync(
            $"""
            select client_id, name, enabled, methods, sender_constraint, token_lifetime, tokens_per_minute, extra_claims, live_secrets, live_keys, scopes,
                   default_scopes, speaks_for, {Day("last_used_at")}, {Day("made_at")}
            from token_service.clients_report({client})
            """);
    }

    [TestCase("alg = 'ES256'", 1)]
    [TestCase("not_before = '2040-01-31 00:01Z'", 0)]
    [TestCase("expires_at = '2040-01-31Z'", 0)]
    [TestCase("expires_at = '2040-01-31 00:01Z'", 1)]
    [TestCase("revoked_at = '2040-01-31Z'", 0)]
    public async Task Live_keys_are_counted(string columns, int expected)
    {
        await AddKeyAsync("this", "ES256", PublicJwk.P256);
        await Database.ExecuteAsync($"update token_service.client_key set {columns}");
        Assert.That(await RowsAsync("select live_keys from token_service.clients_report('billing')"), Is.EqualTo([$"{expected}"]));
    }

    [TestCase("", 1)]
    [TestCase("not_before = '2040-01-31 00:01Z'", 0)]
    [TestCase("expires_at = '2040-01-31Z'", 0)]
    [TestCase("expires_at = '2040-01-31 00:01Z'", 1)]
    [TestCase("revoked_at = '2040-01-31Z'", 0)]
    [TestCase("revoked_at = '2040-01-31 00:01Z'", 1)]
    [TestCase("created_at = '2038-01-01Z'", 0, Description = "ended by the maximum age")]
    public async Task Live_secrets_are_counted(string columns, int expected)
    {
        await Database.ExecuteAsync("update token_service.policy set max_secret_age = '730 days'");
        if (columns != "")
            await Database.ExecuteAsync($"update token_service.client_secret set {columns} where id = 'ThisThisThis'");
        Assert.That(
            await RowsAsync($"select live_secrets from token_service.clients_report('billing')"), Is.EqualTo([$"{expected}"]));
    }

    // When the client was made, its scope granted, its secret last used and its scope last used; and the findings.
    [TestCase("2039-01-01", "2039-01-01", "", "", "client is idle: disable it? - - 2039-01-01")]
    [TestCase("2039-01-01", "2039-01-01", "2039-11-01", "2039-11-01", "client is idle: disable it? - 2039-11-01 2039-01-01")]
    [TestCase("2039-01-01", "2040-01-01", "2039-11-01", "", "client is idle: disable it? - 2039-11-01 2039-01-01",
        Description = "a scope that was granted lately makes no difference")]
    [TestCase("2039-01-01", "2039-01-01", "2039-11-02", "2039-11-02", "", Description = "used 90 days ago, which is not idle yet")]
    [TestCase("2039-11-02", "2039-11-02", "", "", "", Description = "too young to be idle")]
    [TestCase("2039-01-01", "2039-02-01", "2040-01-30", "",
        "scope is not asked for: revoke it? https://api.example.com parcels:read - 2039-02-01")]
    [TestCase("2039-01-01", "2039-02-01", "2040-01-30", "2039-11-01",
        "scope is not asked for: revoke it? https://api.example.com parcels:read 2039-11-01 2039-02-01")]
    [TestCase("2039-01-01", "2039-02-01", "2040-01-30", "2040-01-30", "")]
    [TestCase("2039-01-01", "2039-12-01", "2040-01-30", "", "", Description = "too young to be unused")]
    public async Task The_report_shows_idle_clients_and_unused_scopes(
        string clientMade, string granted, string clientUsed, string scopeUsed, string expected)
    {
        await AddClientAsync("tested");
        await Database.ExecuteAsync(
            $"""
            update token_service.client set created_at = '{clientMade}Z' where id = 'tested';
            update token_service.client_scope set created_at = '{granted}Z' where client_id = 'tested';
            """);
        await UseAsync("testedAAAAAA", clientUsed);
        if (scopeUsed != "")
        {
            await Database.ExecuteAsync(
                $"""
                insert into token_service.scope_use
                values ('tested', 'https://api.example.com', 'parcels:read', '{scopeUsed}Z', '{scopeUsed}Z', 1)
                """);
        }

        Assert.That(await AccessAsync(""), Is.EqualTo<string[]>(expected == "" ? [] : [$"tested A client {expected}"]));
    }

    [Test]
    public async Task Access_of_disabled_clients_is_not_reported()
    {
        await AddClientAsync("tested");
        Assert.That(await AccessAsync(""), Has.Length.EqualTo(1));
        Assert.That(await AccessAsync("p_idle => '400 days'"), Is.Empty);
        await Database.ExecuteAsync("select token_service.set_client_enabled('tested', false)");
        Assert.That(await AccessAsync(""), Is.Empty);
    }

    [TestCase("credentials_report", "'nobody'", "nobody")]
    [TestCase("credentials_report", "'tsvc_BBBBBBBBBBBB'", "tsvc_…")]
    [TestCase("clients_report", "'nobody'", "nobody")]
    [TestCase("clients_report", "'tsvc_BBBBBBBBBBBB'", "tsvc_…")]
    public Task A_report_on_an_unknown_client_is_refused(string report, string client, string shown) =>
        IsRefusedAsync(
            $"select token_service.{report}({client})",
            PostgresErrorCodes.NoDataFound, $"There is no client \"{shown}\".",
            "scripts/list-clients.sql shows those there are, scripts/create-client.sql makes one.");

    [TestCaseSource(nameof(IdleTimes))]
    public async Task An_idle_time_that_is_too_short_is_refused(string argument, string value, string state, string message, string hint)
    {
        await IsRefusedAsync(Call("credentials_report", new() { [argument] = value }), state, message, hint);
        await IsRefusedAsync(Call("access_report", new() { [argument] = value }), state, message, hint);
    }

    private static string Day(string column) => $"to_char({column} at time zone 'UTC', 'YYYY-MM-DD')";

    // The row of the secret that is tested.
    private Task<string[]> StateAsync(string more = "") => RowsAsync(
        $"""
        select state, {Day("ends_at")}, findings
        from token_service.credentials_report({more})
        where credential_id = 'ThisThisThis'
        """);

    // The row of the key that is tested.
    private Task<string[]> KeyAsync(string more = "") => RowsAsync(
        $"""
        select state, {Day("ends_at")}, strength, findings
        from token_service.credentials_report({more})
        where kind = 'key'
          and credential_id = 'this'
        """);

    private Task AddKeyAsync(string kid, string alg, string jwk, string made = "2039-01-01Z") => Database.ExecuteAsync(
        $"""
        insert into token_service.client_key (client_id, kid, alg, public_jwk, not_before, created_at)
        values ('billing', '{kid}', '{alg}', '{jwk}', '{made}', '{made}')
        """);

    private Task<string[]> AccessAsync(string idle) => RowsAsync(
        $"""
        select concat_ws(' ', client_id, name, finding, coalesce(resource || ' ' || scope, '-'),
                         coalesce({Day("last_used_at")}, '-'), {Day("since")})
        from token_service.access_report({idle})
        where client_id <> 'billing'
        """);

    private Task AddNewerAsync() => Database.ExecuteAsync(
        $"""
        insert into token_service.client_secret (id, client_id, digest, not_before, created_at)
        values ('NewerNewer11', 'billing', {Digest}, '2039-02-01Z', '2039-02-01Z')
        """);

    private Task AddClientAsync(string id) => Database.ExecuteAsync(
        $"""
        insert into token_service.client (id, name, created_at) values ('{id}', 'A client', '2039-01-01Z');
        insert into token_service.client_scope (client_id, resource, scope, created_at)
        values ('{id}', 'https://api.example.com', 'parcels:read', '2039-01-01Z');
        insert into token_service.client_secret (id, client_id, digest, not_before, created_at)
        values (rpad('{id}', 12, 'A'), '{id}', {Digest}, '2039-01-01Z', '2039-01-01Z');
        """);

    private async Task UseAsync(string secret, string at)
    {
        if (at != "")
        {
            await Database.ExecuteAsync(
                $"""
                insert into token_service.credential_use
                select 'secret', id, client_id, '{at}Z', '{at}Z', null, 1 from token_service.client_secret where id = '{secret}'
                """);
        }
    }
}
