using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>
/// The scripts for clients, scopes, resources, policy and the audit log, run by the real psql as an admin.
/// </summary>
[TestFixture]
public sealed class AdminScripts
{
    private const string Heading =
        "client_id|name|enabled|methods|sender_constraint|token_lifetime|tokens_per_minute|extra_claims|live_secrets|live_keys|"
        + "scopes|default_scopes|speaks_for|last_used_at";

    private const string Resource = "resource|signing_alg|typ|max_token_lifetime|scopes";
    private const string Servers = "resource|client_id|name|enabled|registered_at";

    private const string Digest = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JVe9Zxzthx1TW+yJ0WQsnjyV8bZaqyPptE";
    private const string BothMethods = "client_secret_basic client_secret_post";
    private const string Scopes = "invoices:read invoices:write";

    private Database database = null!;

    [SetUp]
    public async Task Clone()
    {
        database = await Database.CreateAsync();
        await database.CreateClientAsync("billing");
    }

    [TearDown]
    public async Task Drop() => await database.DisposeAsync();

    [Test]
    public async Task An_update_changes_the_variables_that_are_passed_and_leaves_the_rest()
    {
        await TwiceAsync(
            "update-client.sql",
            [
                "client_id=billing", "name=O'Reilly's \\ billing", "token_lifetime=15 minutes", "tokens_per_minute=600",
                "extra_claims={\"tenant\": \"o'north\"}",
            ],
            Heading, $"billing|O'Reilly's \\ billing|t|{BothMethods}||00:15:00|600|{{\"tenant\": \"o'north\"}}|1|0|{Scopes}|invoices:read||");
        await TwiceAsync(
            "update-client.sql", ["client_id=billing", "methods=client_secret_basic"],
            Heading,
            $"billing|O'Reilly's \\ billing|t|client_secret_basic||00:15:00|600|{{\"tenant\": \"o'north\"}}|1|0|{Scopes}|invoices:read||");
        await TwiceAsync(
            "update-client.sql", ["client_id=billing", "token_lifetime=default", "tokens_per_minute=0", "extra_claims={}"],
            Heading, $"billing|O'Reilly's \\ billing|t|client_secret_basic||default||{{}}|1|0|{Scopes}|invoices:read||");
    }

    [Test]
    public async Task A_client_is_disabled_enabled_and_deleted()
    {
        await TwiceAsync("disable-client.sql", ["client_id=billing"], Heading, Billing(enabled: "f"));
        await TwiceAsync("enable-client.sql", ["client_id=billing"], Heading, Billing());
        await TwiceAsync("disable-client.sql", ["client_id=billing"], Heading, Billing(enabled: "f"));

        var secretId = await database.ReadAsync<string>("select id from token_service.client_secret");
        var audited = await database.ReadAsync<int>("select max(id) from token_service.audit_log");
        (await RunAsync("delete-client.sql", "client_id=billing")).Prints(
            "audit_id|at|operation|table_name|row_key",
            $"{audited + 1}|DATE|DELETE|client|billing",
            $"{audited + 2}|DATE|UPDATE|tokens_not_before|billing",
            $"{audited + 3}|DATE|DELETE|client_secret|{secretId}",
            $"{audited + 4}|DATE|DELETE|client_scope|billing https://api.example.com invoices:read",
            $"{audited + 5}|DATE|DELETE|client_scope|billing https://api.example.com invoices:write");
        (await RunAsync("list-clients.sql")).Prints("client_id|name|enabled|live_secrets|live_keys|sender_constraint|scopes|last_used_at");
    }

    [Test]
    public async Task A_scope_is_granted_made_a_default_and_revoked()
    {
        await TwiceAsync(
            "create-resource.sql", ["resource=https://refunds.example.com", "scopes=refunds:read refunds:write", "signing_alg=RS256"],
            Resource, "https://refunds.example.com|RS256|at+jwt|default|refunds:read refunds:write");
        await TwiceAsync(
            "grant-scope.sql", ["client_id=billing", "scope=refunds:read"], Heading, Billing(scopes: Scopes + " refunds:read"));
        await TwiceAsync(
            "grant-scope.sql", ["client_id=billing", "scope=refunds:read", "default=on"],
            Heading, Billing(scopes: Scopes + " refunds:read", defaults: "invoices:read refunds:read"));
        await TwiceAsync("revoke-scope.sql", ["client_id=billing", "scope=refunds:read"], Heading, Billing());
    }

    [Test]
    public async Task A_scope_is_granted_and_revoked_at_the_resource_that_is_passed()
    {
        const string Ledger = "https://ledger.example.com";
        await TwiceAsync(
            "create-resource.sql", [$"resource={Ledger}", "scopes=invoices:read"],
            Resource, $"{Ledger}|default|at+jwt|default|invoices:read");
        await TwiceAsync(
            "grant-scope.sql", ["client_id=billing", "scope=invoices:read", $"resource={Ledger}"],
            Heading, Billing(
                scopes: $"invoices:read (https://api.example.com) invoices:read ({Ledger}) invoices:write",
                defaults: "invoices:read (https://api.example.com)"));
        await TwiceAsync("revoke-scope.sql", ["client_id=billing", "scope=invoices:read", $"resource={Ledger}"], Heading, Billing());
    }

    [Test]
    public async Task A_resource_keeps_the_properties_that_are_not_passed()
    {
        await TwiceAsync(
            "create-resource.sql", ["resource=https://api.example.com", "signing_alg=PS256"],
            Resource, $"https://api.example.com|PS256|at+jwt|default|{Scopes}");
        await TwiceAsync(
            "create-resource.sql", ["resource=https://api.example.com", "scopes=refunds:read"],
            Resource, $"https://api.example.com|PS256|at+jwt|default|{Scopes} refunds:read");
        await TwiceAsync(
            "create-resource.sql", ["resource=https://api.example.com", "signing_alg=default"],
            Resource, $"https://api.example.com|default|at+jwt|default|{Scopes} refunds:read");
        await TwiceAsync("create-resource.sql", ["resource=urn:bare"], Resource, "urn:bare|default|at+jwt|default|");
    }

    [Test]
    public async Task A_resource_is_given_the_typ_of_any_JWT_and_loses_it_again()
    {
        string[] api = ["resource=https://api.example.com"];
        await TwiceAsync(
            "create-resource.sql", [.. api, "typ=JWT"], Resource, $"https://api.example.com|default|JWT|default|{Scopes}");
        await TwiceAsync("create-resource.sql", api, Resource, $"https://api.example.com|default|JWT|default|{Scopes}");
        await TwiceAsync(
            "create-resource.sql", [.. api, "typ=at+jwt"], Resource, $"https://api.example.com|default|at+jwt|default|{Scopes}");
    }

    // The runbook tells this to an admin who changes the algorithm of a resource that clients use.
    [Test]
    public async Task An_algorithm_is_prepared_by_a_resource_without_clients_and_the_script_says_from_when_it_signs()
    {
        // A server that runs would make keys at its own pace; this one makes one when it is told.
        await using var server = await TestServer.StartAsync(database, "Keys:RsaKeySize=2048");
        await server.StopAsync();
        await database.SetInstantAsync(server.Clock.GetUtcNow());
        string[] change = ["resource=https://api.example.com", "signing_alg=RS256"];
        string[] prepare = ["resource=rs256-keys", "signing_alg=RS256"];
        var refused = await RunAsync("create-resource.sql", change);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(refused.ExitCode, Is.EqualTo(Psql.ScriptFailed));
            Assert.That(refused.Error, Does.Contain(
                "No RS256 key signs yet, so the clients of resource \"https://api.example.com\" would get no token until one does."));
            Assert.That(refused.Error, Does.Contain("-v resource=rs256-keys -v signing_alg=RS256 says from when."));
        }

        (await RunAsync("create-resource.sql", prepare)).Prints(
            Resource, "rs256-keys|RS256|at+jwt|default|",
            "No RS256 key signs yet: until one does, /token answers 503 for this resource. A running server publishes the key",
            "within seconds, and it signs Keys:JwksMaxAge and 12 minutes later. Run this again to see from when.");
        await server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);
        (await RunAsync("create-resource.sql", prepare)).Prints(
            Resource, "rs256-keys|RS256|at+jwt|default|",
            "Until DATE no RS256 key signs, and /token answers 503 for this resource.");
        Assert.That((await RunAsync("create-resource.sql", change)).ExitCode, Is.EqualTo(Psql.ScriptFailed));

        // The script compares with the present, so the key's dates move and not the clock.
        await database.ExecuteAsync(
            """
            update token_service.signing_key
            set published_at = now() - interval '17 minutes', known_from = now(), signs_from = now()
            where alg = 'RS256';
            """);
        await database.SetInstantAsync("now()");
        await TwiceAsync("create-resource.sql", change, Resource, $"https://api.example.com|RS256|at+jwt|default|{Scopes}");
    }

    [Test]
    public async Task An_algorithm_without_a_key_is_set_at_once_when_the_admin_says_so()
    {
        await using (var server = await TestServer.StartAsync(database))
            await server.StopAsync();
        (await RunAsync("create-resource.sql", "resource=https://api.example.com", "signing_alg=ES384", "at_once=on")).Prints(
            Resource, $"https://api.example.com|ES384|at+jwt|default|{Scopes}",
            "No ES384 key signs yet: until one does, /token answers 503 for this resource. A running server publishes the key",
            "within seconds, and it signs Keys:JwksMaxAge and 12 minutes later. Run this again to see from when.");
    }

    [Test]
    public async Task A_resource_is_given_a_maximum_token_lifetime_and_loses_it_again()
    {
        string[] api = ["resource=https://api.example.com"];
        await TwiceAsync(
            "create-resource.sql", [.. api, "max_token_lifetime=5 minutes"],
            Resource, $"https://api.example.com|default|at+jwt|00:05:00|{Scopes}");
        await TwiceAsync("create-resource.sql", api, Resource, $"https://api.example.com|default|at+jwt|00:05:00|{Scopes}");
        await TwiceAsync(
            "create-resource.sql", [.. api, "max_token_lifetime=default"],
            Resource, $"https://api.example.com|default|at+jwt|default|{Scopes}");
    }

    [Test]
    public async Task A_client_is_registered_for_a_resource_and_unregistered()
    {
        (await RunAsync(
            "create-client.sql", "client_id=invoices-api", "name=Invoices API", $"digest={Digest}",
            "secret_id=imported_AAAAAAAAAAAA")).Prints(
                "client_id|name|methods|resource|scopes|default_scopes", "invoices-api|Invoices API|client_secret_basic|||");
        string[] registration = ["client_id=invoices-api", "resource=https://api.example.com"];
        await TwiceAsync(
            "register-resource-server.sql", registration, Servers, "https://api.example.com|invoices-api|Invoices API|t|DATE");
        await TwiceAsync(
            "register-resource-server.sql", ["client_id=billing", "resource=https://api.example.com"],
            Servers, "https://api.example.com|billing|A client of a test|t|DATE",
            "https://api.example.com|invoices-api|Invoices API|t|DATE");
        await TwiceAsync("disable-client.sql", ["client_id=billing"], Heading, Billing(enabled: "f", speaksFor: "https://api.example.com"));
        await TwiceAsync(
            "unregister-resource-server.sql", registration, Servers, "https://api.example.com|billing|A client of a test|f|DATE");
    }

    [Test]
    public async Task The_tokens_of_a_client_are_revoked()
    {
        (await RunAsync("revoke-client-tokens.sql", "client_id=billing")).Prints(
            "client_id|tokens_dead_up_to", "billing|DATE",
            "An API that verifies offline, without the list of revoked tokens, takes these tokens until they expire.");
        Assert.That(
            await database.ReadAsync<string>("select string_agg(client_id, ' ') from token_service.tokens_not_before"),
            Is.EqualTo("billing"));
    }

    [Test]
    public async Task The_policy_is_shown_and_changed()
    {
        const string heading = "max_secret_age|max_overlap|min_digest_cost";
        await TwiceAsync("set-policy.sql", [], heading, "none|30 days|38912");
        await TwiceAsync("set-policy.sql", ["max_secret_age=180 days"], heading, "180 days|30 days|38912");
        await TwiceAsync("set-policy.sql", ["max_overlap=7 days", "min_digest_cost=8192"], heading, "180 days|7 days|8192");
        await TwiceAsync("set-policy.sql", ["max_secret_age=2 days", "at_once=on"], heading, "2 days|7 days|8192");
        await TwiceAsync("set-policy.sql", ["max_secret_age=0"], heading, "none|7 days|8192");
    }

    [Test]
    public async Task Clients_are_listed()
    {
        await database.CreateClientAsync("archive", "archive:read", "", "https://archive.example.com");
        (await RunAsync("list-clients.sql")).Prints(
            "client_id|name|enabled|live_secrets|live_keys|sender_constraint|scopes|last_used_at",
            "archive|A client of a test|t|1|0||archive:read|",
            $"billing|A client of a test|t|1|0||{Scopes}|");
    }

    [Test]
    public async Task A_client_is_shown_with_its_scopes_and_secrets()
    {
        await database.ExecuteAsync(
            """
            insert into token_service.credential_use (kind, credential_id, client_id, first_used_at, last_used_at, use_count)
            select 'secret', id, client_id, now(), now(), 4 from token_service.client_secret;
            insert into token_service.scope_use (client_id, resource, scope, first_used_at, last_used_at, use_count)
            values ('billing', 'https://api.example.com', 'invoices:read', now(), now(), 3);
            """);
        var secretId = await database.ReadAsync<string>("select id from token_service.client_secret");
        await TwiceAsync(
            "show-client.sql", ["client_id=billing"],
            Heading, Billing() + "DATE",
            "scope|resource|is_default|granted_at|last_used_at|use_count",
            "invoices:read|https://api.example.com|t|DATE|DATE|3",
            "invoices:write|https://api.example.com|f|DATE||0",
            "kind|credential_id|label|state|made_at|ends_at|last_used_at|findings",
            $"secret|{secretId}||alive|DATE||DATE|digest weaker than the policy");
    }

    [Test]
    public async Task The_access_report_shows_idle_clients_and_unused_scopes()
    {
        await database.CreateClientAsync("archive");
        await database.ExecuteAsync(
            """
            update token_service.client set created_at = now() - interval '100 days';
            update token_service.client_scope set created_at = now() - interval '100 days';
            insert into token_service.credential_use (kind, credential_id, client_id, first_used_at, last_used_at, use_count)
            select 'secret', id, client_id, now(), now(), 4 from token_service.client_secret where client_id = 'billing';
            insert into token_service.scope_use (client_id, resource, scope, first_used_at, last_used_at, use_count)
            values ('billing', 'https://api.example.com', 'invoices:read', now(), now(), 3);
            """);
        const string heading = "client_id|name|resource|scope|last_used_at|since|finding";
        await TwiceAsync(
            "access-report.sql", [], heading,
            "archive|A client of a test||||DATE|client is idle: disable it?",
            "billing|A client of a test|https://api.example.com|invoices:write||DATE|scope is not asked for: revoke it?");
        await TwiceAsync("access-report.sql", ["idle=101 days"], heading);
    }

    [Test]
    public async Task The_audit_log_shows_changes_with_the_newest_last()
    {
        await RunAsync("update-client.sql", "client_id=billing", "name=Renamed");
        await RunAsync("create-resource.sql", "resource=urn:bare");
        var user = await database.ReadAsync<string>("select session_user");
        var address = await database.ReadAsync<string>(
            "select host(client_address) from token_service.audit_log where application_name = 'psql' limit 1");
        const string heading = "id|at|operation|table_name|row_key|user_name|application_name|client_address|before|after";
        var renamed = $"8|DATE|UPDATE|client|billing|{user}|psql|{address}|{{\"name\": \"A client of a test\"}}|{{\"name\": \"Renamed\"}}";

        var everything = Psql.Lines((await RunAsync("audit-log.sql")).Output);
        Assert.That(everything, Has.Length.EqualTo(10));
        Assert.That(everything[0], Is.EqualTo(heading));
        Assert.That(everything[8], Is.EqualTo(renamed));
        Assert.That(everything[9], Does.StartWith($"9|DATE|INSERT|resource|urn:bare|{user}|psql|{address}||{{\"id\": \"urn:bare\","));

        await TwiceAsync("audit-log.sql", ["client_id=billing", "max_rows=1"], heading, renamed);
        await TwiceAsync("audit-log.sql", ["client_id=nobody"], heading);
        await database.ExecuteAsync("update token_service.audit_log set at = at - interval '8 days'");
        await TwiceAsync("audit-log.sql", ["since=7 days"], heading);
    }

    [Test]
    public async Task A_whole_audit_log_is_verified_and_its_end_shown()
    {
        var hash = await database.ReadAsync<string>("select encode(hash, 'hex') from token_service.audit_log where id = 7");
        string[] whole =
        [
            "id|finding", "rows|id|hash", $"7|7|{hash}",
            "The audit log is whole. Keep the id and hash elsewhere, and pass them with -v id=… -v hash=… the next time.",
        ];
        await TwiceAsync("audit-verify.sql", [], whole);
        await TwiceAsync("audit-verify.sql", ["id=7", $"hash={hash}"], whole);
    }

    [TestCase(
        "update token_service.audit_log set user_name = 'eve' where id = 3", "",
        "3|this row, its place or the hash of the one before was changed")]
    [TestCase("delete from token_service.audit_log where id = 3", "", "4|rows are missing before this one: 1")]
    [TestCase("delete from token_service.audit_log where id = 7", "7", "7|this row is not the one that was noted")]
    public async Task A_tampered_audit_log_fails_the_verification(string tamper, string noted, string finding)
    {
        var hash = await database.ReadAsync<string>("select encode(hash, 'hex') from token_service.audit_log where id = 7");
        await database.ExecuteAsync(tamper);
        var psql = await RunAsync("audit-verify.sql", noted.Length > 0 ? [$"id={noted}", $"hash={hash}"] : []);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(psql.ExitCode, Is.EqualTo(Psql.ScriptFailed));
            Assert.That(Psql.Lines(psql.Output)[..3], Is.EqualTo(["id|finding", finding, "rows|id|hash"]));
            Assert.That(psql.Output, Does.Not.Contain("whole"));
            Assert.That(psql.Error, Does.EndWith(
                "ERROR:  The audit log is not as it was written.\n"
                + "HINT:  The findings stand above. Keep this database as it is, and compare the log with a backup.\n"));
        }
    }

    private static string Billing(string enabled = "t", string scopes = Scopes, string defaults = "invoices:read", string speaksFor = "") =>
        $"billing|A client of a test|{enabled}|{BothMethods}||default||{{}}|1|0|{scopes}|{defaults}|{speaksFor}|";

    // The second run prints the same and changes nothing: the audit log, which records every change, has no new row.
    private async Task TwiceAsync(string script, string[] variables, params string[] printed)
    {
        (await RunAsync(script, variables)).Prints(printed);
        var once = await database.ReadAsync<long>("select max(id) from token_service.audit_log");
        (await RunAsync(script, variables)).Prints(printed);
        Assert.That(await database.ReadAsync<long>("select max(id) from token_service.audit_log"), Is.EqualTo(once));
    }

    private Task<Tool> RunAsync(string script, params string[] variables) => Psql.ScriptAsync(database, script, variables);
}
