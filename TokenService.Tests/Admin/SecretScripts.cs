using Npgsql;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>The scripts that make, end and report secrets, run by the real psql as an admin.</summary>
[TestFixture]
public sealed class SecretScripts : ServerFixture
{
    private const string Heading = "secret_id|label|state|made_at|ends_at|last_used_at|findings";
    private const string ShownOnce = "The secret, shown this once:";

    private const string DryRun = "This was a dry run: nothing was revoked. To revoke these secrets, pass -v dry_run=off.";

    private const string ReportHeading =
        "client_id|kind|credential_id|label|state|made_at|ends_at|last_used_at|use_count|last_used_from|strength|findings";

    [Test]
    public async Task A_rotation_leaves_the_old_secret_alive_for_the_overlap()
    {
        var old = await Database.CreateClientAsync("rotated");
        var psql = await RunAsync("rotate-secret.sql", "client_id=rotated", "overlap=2 days", "label=it's the second");
        var fresh = new TestClient("rotated", psql.Value("client_secret"));
        psql.Prints(
            Heading,
            $"{IdOf(old)}||alive|DATE|DATE||never used, ends soon, digest weaker than the policy",
            $"{IdOf(fresh)}|it's the second|alive|DATE|||never used",
            ShownOnce, $"client_secret={fresh.Secret}");

        (await TokenRequestBuilder.For(old).SendAsync(Server)).IsGrant("invoices:read");
        await Soon.IsAsync("the new secret works", async () => (await TokenRequestBuilder.For(fresh).SendAsync(Server)).Status == 200);
        await OverlapIsAsync("2 days", IdOf(old), IdOf(fresh));
    }

    [Test]
    public async Task A_rotation_without_an_overlap_ends_the_old_secret_at_once()
    {
        var old = await Database.CreateClientAsync("hurried");
        (await TokenRequestBuilder.For(old).SendAsync(Server)).IsGrant("invoices:read");

        var psql = await RunAsync("rotate-secret.sql", "client_id=hurried", "overlap=0");
        var fresh = new TestClient("hurried", psql.Value("client_secret"));
        psql.Prints(Heading, $"{IdOf(fresh)}||alive|DATE|||never used", ShownOnce, $"client_secret={fresh.Secret}");

        await Soon.IsAsync("the old secret is refused", async () => (await TokenRequestBuilder.For(old).SendAsync(Server)).Status == 401);
        (await TokenRequestBuilder.For(fresh).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task The_overlap_is_24_hours_by_default()
    {
        var old = await Database.CreateClientAsync("unsaid");
        (await RunAsync("rotate-secret.sql", ["client_id=unsaid", .. Elsewhere(out var id)])).Prints(
            Heading,
            $"{IdOf(old)}||alive|DATE|DATE||never used, ends soon, digest weaker than the policy",
            $"{id}||alive|DATE|||never used, digest weaker than the policy");
        await OverlapIsAsync("24 hours", IdOf(old), id);
    }

    [Test]
    public async Task A_secret_may_begin_later_and_expire()
    {
        await Database.CreateClientAsync("planned");
        var psql = await RunAsync(
            "add-secret.sql",
            ["client_id=planned", "label=for later", "not_before=2099-01-01 UTC", "expires_at=2099-12-31 UTC", .. Elsewhere(out var id)]);
        Assert.That(Psql.Lines(psql.Output), Does.Contain($"{id}|for later|to come|DATE|DATE||digest weaker than the policy"), psql.Error);
        Assert.That(psql.Output, Does.Contain(" 2099-12-31 00:00:00+00 "));
    }

    [Test]
    public async Task An_added_secret_leaves_the_others_as_they_are()
    {
        var first = await Database.CreateClientAsync("twofold");
        var psql = await RunAsync("add-secret.sql", "client_id=twofold");
        var second = new TestClient("twofold", psql.Value("client_secret"));
        psql.Prints(
            Heading,
            $"{IdOf(first)}||alive|DATE|||never used, digest weaker than the policy",
            $"{IdOf(second)}||alive|DATE|||never used",
            ShownOnce, $"client_secret={second.Secret}");
    }

    // psql echoes each query as it sends it: the digest is in it, and the secret is not.
    [TestCase("rotate-secret.sql")]
    [TestCase("add-secret.sql")]
    public async Task The_secret_is_printed_once_and_never_sent_to_the_database(string script)
    {
        await Database.CreateClientAsync($"echoed-{script}");
        var psql = await Psql.ScriptAsync(Database, script, [$"client_id=echoed-{script}"], "--echo-queries");
        var secret = psql.Value("client_secret");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(psql.Output, Does.Contain("nullif('$argon2id$"));
            Assert.That(psql.Output.Split(secret), Has.Length.EqualTo(2));
            Assert.That(psql.Output, Does.EndWith($"\n{ShownOnce}\nclient_secret={secret}\n"));
        }
    }

    [Test]
    public async Task A_rotation_that_fails_shows_no_secret()
    {
        await Database.CreateClientAsync("failing");
        (await RunAsync("rotate-secret.sql", "client_id=failing", "overlap=-1 hour")).IsRefused(
            "The overlap is missing or negative.",
            "Say for how long the old secrets still work, such as '24 hours'; '0' ends them at once.");
    }

    [TestCase("create-client.sql")]
    [TestCase("rotate-secret.sql")]
    [TestCase("add-secret.sql")]
    public async Task A_script_is_refused_when_the_tool_that_makes_secrets_does_not_run(string script)
    {
        var before = await AuditedAsync();
        var psql = await Psql.ShellAsync(
            Database,
            "TOKEN_SERVICE='false' psql -v client_id=billing -v name=x -v resource=urn:x -v scopes=x -f scripts/" + script);
        psql.IsRefused(
            "The tool that makes secrets did not run.",
            "Set TOKEN_SERVICE to the command that runs TokenService, or have it on the PATH. Its output stands above.");
        Assert.That(await AuditedAsync(), Is.EqualTo(before));
    }

    // The second admin begins before the first has committed. The second waits, and is then refused.
    [TestCase(true, TestName = "The_second_of_two_admins_who_rotate_at_the_same_time_is_refused")]
    [TestCase(false, TestName = "The_second_of_two_admins_who_add_the_first_secret_at_the_same_time_is_refused")]
    public async Task The_second_of_two_admins_at_the_same_time_is_refused(bool hasSecret)
    {
        var id = $"contended-{hasSecret}";
        await Database.CreateClientAsync(id);
        if (!hasSecret)
            await Database.ExecuteAsync("update token_service.client_secret set revoked_at = now() where client_id = @id", new { id });
        var secret = GeneratedSecret.Create();

        await using var first = await Database.Source.OpenConnectionAsync();
        await using var transaction = await first.BeginTransactionAsync();
        await using (var rotate = new NpgsqlCommand("select token_service.rotate_secret($1, $2, $3)", first, transaction)
        {
            Parameters = { new() { Value = id }, new() { Value = secret.Selector }, new() { Value = Database.Digest(secret.Value) } },
        })
        {
            await rotate.ExecuteNonQueryAsync();
        }

        var second = RunAsync("rotate-secret.sql", $"client_id={id}");
        await Soon.IsAsync("the second waits for the first", async () => await Database.ReadAsync<bool>(
            """
            select exists (
                select from pg_locks l
                join pg_stat_activity a using (pid)
                where not l.granted
                  and a.datname = current_database())
            """));
        await transaction.CommitAsync();
        var committed = await AuditedAsync();

        (await second).IsRefused(
            $"Somebody else has just changed the secrets of client \"{id}\".",
            "Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end their new secret too.");
        Assert.That(await AuditedAsync(), Is.EqualTo(committed));
    }

    [Test]
    public async Task A_revoked_secret_is_revoked_once()
    {
        var client = await Database.CreateClientAsync("leaky");
        await Database.AddSecretAsync("leaky", "a secret of sixteen characters");
        var other = await Database.ReadAsync<string>(
            "select id from token_service.client_secret where client_id = 'leaky' and id <> @id", new { id = IdOf(client) });
        string[] shown =
        [
            Heading,
            $"{IdOf(client)}||revoked|DATE|DATE||",
            $"{other}||alive|DATE|||never used, digest weaker than the policy",
        ];
        (await RunAsync("revoke-secret.sql", "client_id=leaky", $"secret_id={IdOf(client)}")).Prints(shown);
        var once = await AuditedAsync();
        (await RunAsync("revoke-secret.sql", "client_id=leaky", $"secret_id={IdOf(client)}")).Prints(shown);
        Assert.That(await AuditedAsync(), Is.EqualTo(once));
    }

    [Test]
    public async Task A_revocation_of_the_last_secret_in_use_warns()
    {
        var client = await Database.CreateClientAsync("missed");
        await UseAsync(IdOf(client), ago: "1 hour");
        var psql = await RunAsync("revoke-secret.sql", "client_id=missed", $"secret_id={IdOf(client)}");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(psql.ExitCode, Is.Zero);
            Assert.That(psql.Error, Does.Contain("WARNING:  The secret was still used, last at ").And.Contain(" from 10.0.3.7.\n")
                .And.Contain("HINT:  The client needs another secret there now.\n")
                .And.Contain("WARNING:  Client \"missed\" has no live secret left, so it can get no token.\n"));
        }
    }

    [Test]
    public async Task Unused_secrets_are_shown_and_only_then_retired()
    {
        var old = await Database.CreateClientAsync("idle");
        await Database.ExecuteAsync(
            """
            update token_service.client_secret
            set created_at = now() - interval '60 days', not_before = now() - interval '60 days'
            where id = @id
            """,
            new { id = IdOf(old) });
        await UseAsync(IdOf(old), ago: "40 days");
        await RunAsync("add-secret.sql", ["client_id=idle", .. Elsewhere(out var fresh)]);
        string[] shown = ["client_id|secret_id|label|last_used_at|newer_secret_id", $"idle|{IdOf(old)}||DATE|{fresh}"];

        (await RunAsync("credentials-report.sql", "client_id=idle")).Prints(
            ReportHeading,
            $"idle|secret|{IdOf(old)}||alive|DATE||DATE|12|10.0.3.7|m=8192,t=1|safe to retire, digest weaker than the policy",
            $"idle|secret|{fresh}||alive|DATE|||0||m=8192,t=1|never used, digest weaker than the policy");

        var before = await AuditedAsync();
        (await RunAsync("retire-unused-secrets.sql", "idle=45 days")).Prints(shown[0], DryRun);
        (await RunAsync("retire-unused-secrets.sql")).Prints([.. shown, DryRun]);
        Assert.That(await AuditedAsync(), Is.EqualTo(before));

        (await RunAsync("retire-unused-secrets.sql", "dry_run=off")).Prints([.. shown, "These secrets are revoked now."]);
        (await RunAsync("retire-unused-secrets.sql", "dry_run=off")).Prints(shown[0], "These secrets are revoked now.");

        string[] alive = [ReportHeading, $"idle|secret|{fresh}||alive|DATE|||0||m=8192,t=1|never used, digest weaker than the policy"];
        (await RunAsync("credentials-report.sql", "client_id=idle")).Prints(alive);
        (await RunAsync("credentials-report.sql", "client_id=idle", "all=on")).Prints(
            alive[0], $"idle|secret|{IdOf(old)}||revoked|DATE|DATE|DATE|12|10.0.3.7|m=8192,t=1|", alive[1]);
    }

    [Test]
    public async Task The_report_says_ends_soon_within_the_time_that_is_passed()
    {
        await Database.CreateClientAsync("ending");
        await RunAsync("rotate-secret.sql", ["client_id=ending", "overlap=20 days", .. Elsewhere(out _)]);
        Assert.That((await RunAsync("credentials-report.sql", "client_id=ending")).Output, Does.Not.Contain("ends soon"));
        Assert.That((await RunAsync("credentials-report.sql", "client_id=ending", "soon=21 days")).Output, Does.Contain("ends soon"));
        Assert.That((await RunAsync("credentials-report.sql")).Output, Does.Contain("\n ending "));
    }

    private async Task OverlapIsAsync(string overlap, string oldId, string newId) => Assert.That(
        await Database.ReadAsync<bool>(
            """
            select old.expires_at = new.not_before + @overlap::interval
            from token_service.client_secret old, token_service.client_secret new
            where old.id = @oldId and new.id = @newId
            """,
            new { overlap, oldId, newId }),
        Is.True);

    private static string IdOf(TestClient client) => client.Secret[5..17];

    private static string[] Elsewhere(out string secretId)
    {
        var secret = GeneratedSecret.Create();
        secretId = secret.Selector;
        return [$"secret_id={secretId}", $"digest={Database.Digest(secret.Value)}"];
    }

    private Task UseAsync(string id, string ago) => Database.ExecuteAsync(
        """
        insert into token_service.credential_use (kind, credential_id, client_id, first_used_at, last_used_at, last_used_from, use_count)
        select 'secret', id, client_id, now() - @ago::interval, now() - @ago::interval, '10.0.3.7', 12
        from token_service.client_secret
        where id = @id
        """,
        new { id, ago });

    // The audit log records every change: the same last hash means that nothing has changed.
    private Task<string?> AuditedAsync() =>
        Database.ReadAsync<string>("select encode(hash, 'hex') from token_service.audit_log order by id desc limit 1");

    private Task<Tool> RunAsync(string script, params string[] variables) => Psql.ScriptAsync(Database, script, variables);
}
