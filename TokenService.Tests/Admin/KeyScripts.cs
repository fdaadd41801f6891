using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>The scripts for keys of clients and for bound tokens, run by the real psql as an admin.</summary>
[TestFixture]
public sealed class KeyScripts
{
    private const string Heading = "kid|alg|label|state|made_at|ends_at|last_used_at|findings";

    private const string ReportHeading =
        "client_id|kind|credential_id|label|state|made_at|ends_at|last_used_at|use_count|last_used_from|strength|findings";

    private Database database = null!;

    [SetUp]
    public async Task Clone()
    {
        database = await Database.CreateAsync();
        (await RunAsync(
            "create-client.sql", "client_id=billing", "name=Billing", "resource=https://api.example.com", "scopes=invoices:read",
            $"public_jwk={PublicJwk.P256}", "kid=first")).Prints(
            "client_id|name|methods|resource|scopes|default_scopes",
            "billing|Billing|private_key_jwt|https://api.example.com|invoices:read|",
            Heading, "first|ES256||alive|DATE|||never used");
    }

    [TearDown]
    public async Task Drop() => await database.DisposeAsync();

    [Test]
    public async Task A_client_that_is_made_with_a_key_has_no_secret() =>
        Assert.That(
            await database.ReadAsync<string>(
                "select concat_ws(' ', (select count(*) from token_service.client_secret), live_secrets, live_keys, methods) "
                + "from token_service.clients_report('billing')"),
            Is.EqualTo("0 0 1 private_key_jwt"));

    [Test]
    public async Task A_client_that_is_made_with_a_key_has_the_methods_and_the_alg_that_are_passed() =>
        (await RunAsync(
            "create-client.sql", "client_id=moving", "name=x", $"public_jwk={PublicJwk.Rsa}", "alg=PS256",
            "methods=client_secret_basic private_key_jwt")).Prints(
            "client_id|name|methods|resource|scopes|default_scopes", "moving|x|client_secret_basic private_key_jwt|||",
            Heading, $"{PublicJwk.RsaThumbprint}|PS256||alive|DATE|||never used");

    [Test]
    public async Task A_client_is_not_made_with_a_key_that_is_refused()
    {
        (await RunAsync("create-client.sql", "client_id=other", "name=x", $"public_jwk={PublicJwk.Rsa}")).IsRefused(
            "The RSA key for client \"other\" comes without its algorithm.",
            "Pass alg: PS256, or RS256 for a client that cannot sign with PS256.");
        Assert.That(await database.ReadAsync<int>("select count(*) from token_service.client where id = 'other'"), Is.Zero);
    }

    [Test]
    public async Task A_key_is_added_with_what_is_passed()
    {
        var psql = await RunAsync(
            "add-key.sql", "client_id=billing", $"public_jwk={PublicJwk.Rsa}", "kid=rsa", "alg=PS256", "label=it's the HSM",
            "not_before=2099-01-01 UTC", "expires_at=2099-12-31 UTC");
        psql.Prints(Heading, "first|ES256||alive|DATE|||never used", "rsa|PS256|it's the HSM|to come|DATE|DATE||");
        Assert.That(psql.Output, Does.Contain(" 2099-12-31 00:00:00+00 "));
    }

    // As client-key new prints it, or as a file has it.
    [TestCase("{0}")]
    [TestCase("\n  {0}\n\n")]
    public async Task A_key_may_have_white_space_around_it(string text) =>
        (await RunAsync(
            "add-key.sql", "client_id=billing",
            $"public_jwk={text.Replace("{0}", PublicJwk.Ed25519, StringComparison.Ordinal)}")).Prints(
            Heading, "first|ES256||alive|DATE|||never used", $"{PublicJwk.Ed25519Thumbprint}|Ed25519||alive|DATE|||never used");

    [Test]
    public async Task A_rotation_leaves_the_old_key_alive_for_the_overlap()
    {
        (await RunAsync(
            "rotate-key.sql", "client_id=billing", $"public_jwk={PublicJwk.Ed25519}", "overlap=2 days", "label=the second")).Prints(
            Heading, "first|ES256||alive|DATE|DATE||never used, ends soon",
            $"{PublicJwk.Ed25519Thumbprint}|Ed25519|the second|alive|DATE|||never used");
        await EndIsAsync("2 days");
    }

    [Test]
    public async Task The_overlap_is_24_hours_by_default_and_may_be_0()
    {
        await RunAsync("rotate-key.sql", "client_id=billing", $"public_jwk={PublicJwk.Ed25519}");
        await EndIsAsync("24 hours");
        (await RunAsync("rotate-key.sql", "client_id=billing", $"public_jwk={PublicJwk.P384}", "kid=third", "overlap=0")).Prints(
            Heading, "third|ES384||alive|DATE|||never used");
    }

    [Test]
    public async Task A_key_is_revoked_once()
    {
        await RunAsync("add-key.sql", "client_id=billing", $"public_jwk={PublicJwk.Ed25519}", "kid=second");
        string[] shown = [Heading, "first|ES256||revoked|DATE|DATE||", "second|Ed25519||alive|DATE|||never used"];
        (await RunAsync("revoke-key.sql", "client_id=billing", "kid=first")).Prints(shown);
        var once = await AuditedAsync();
        (await RunAsync("revoke-key.sql", "client_id=billing", "kid=first")).Prints(shown);
        Assert.That(await AuditedAsync(), Is.EqualTo(once));
    }

    [Test]
    public async Task A_revocation_of_the_last_key_in_use_warns()
    {
        await database.ExecuteAsync(
            "insert into token_service.credential_use values ('key', 'billing first', 'billing', now(), now(), '10.0.3.7', 1)");
        var psql = await RunAsync("revoke-key.sql", "client_id=billing", "kid=first");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(psql.ExitCode, Is.Zero);
            Assert.That(psql.Error, Does.Contain("WARNING:  The key was still used, last at ").And.Contain(" from 10.0.3.7.\n")
                .And.Contain("WARNING:  Client \"billing\" has no live key left.\n"));
        }
    }

    [Test]
    public async Task A_client_is_shown_with_its_keys_and_secrets_and_listed_with_their_number()
    {
        await database.ExecuteAsync(
            "insert into token_service.credential_use values ('key', 'billing first', 'billing', now(), now(), '10.0.3.7', 12)");
        await RunAsync("update-client.sql", "client_id=billing", "methods=client_secret_basic private_key_jwt");
        await database.AddSecretAsync("billing", "a secret of sixteen characters");
        var secret = await database.ReadAsync<string>("select id from token_service.client_secret");
        Assert.That(Psql.Lines((await RunAsync("show-client.sql", "client_id=billing")).Output), Has.Length.EqualTo(7).And.Member(
            "key|first||alive|DATE||DATE|").And.Member($"secret|{secret}||alive|DATE|||never used, digest weaker than the policy"));
        (await RunAsync("list-clients.sql")).Prints(
            "client_id|name|enabled|live_secrets|live_keys|sender_constraint|scopes|last_used_at",
            "billing|Billing|t|1|1||invoices:read|DATE");
        (await RunAsync("credentials-report.sql")).Prints(
            ReportHeading, "billing|key|first||alive|DATE||DATE|12|10.0.3.7|ES256|",
            $"billing|secret|{secret}||alive|DATE|||0||m=8192,t=1|never used, digest weaker than the policy");
        (await RunAsync("credentials-report.sql", "fapi=on")).Prints(
            ReportHeading, "billing|key|first||alive|DATE||DATE|12|10.0.3.7|ES256|tokens not bound: not for FAPI",
            $"billing|secret|{secret}||alive|DATE|||0||m=8192,t=1|never used, digest weaker than the policy, a secret: not for FAPI, "
            + "tokens not bound: not for FAPI");
    }

    [Test]
    public async Task A_sender_constraint_is_required_and_removed()
    {
        const string heading = "client_id|by_client|resource|by_resource";
        await RunAsync("create-client.sql", "client_id=payroll", "name=x", "resource=https://api.example.com", "scopes=pay", KeyOf());
        string[] ofClient = ["client_id=billing", "constraint=dpop"];
        string[] ofResource = ["resource=https://api.example.com", "constraint=dpop"];

        await TwiceAsync("require-sender-constraint.sql", ofClient, heading, "billing|dpop|https://api.example.com|");
        await TwiceAsync(
            "require-sender-constraint.sql", ofResource,
            heading, "billing|dpop|https://api.example.com|dpop", "payroll||https://api.example.com|dpop");
        await TwiceAsync(
            "require-sender-constraint.sql", ["client_id=billing", "constraint=none"], heading, "billing||https://api.example.com|dpop");

        // A client without scopes, and a resource without clients.
        await RunAsync("create-client.sql", "client_id=api", "name=x", KeyOf());
        await RunAsync("create-resource.sql", "resource=https://new.example.com");
        await TwiceAsync("require-sender-constraint.sql", ["client_id=api", "constraint=dpop"], heading, "api|dpop||");
        await TwiceAsync(
            "require-sender-constraint.sql", ["resource=https://new.example.com", "constraint=dpop"],
            heading, "||https://new.example.com|dpop");
    }

    [Test]
    public async Task The_address_of_the_token_endpoint_is_allowed_as_audience_until_a_date()
    {
        const string heading = "client_id|name|until";
        await RunAsync("create-client.sql", "client_id=payroll", "name=Payroll", KeyOf());
        var until = $"until={DateTime.UtcNow.AddDays(90):yyyy-MM-dd} UTC";
        await TwiceAsync("allow-token-endpoint-audience.sql", ["client_id=billing", until], heading, "billing|Billing|DATE");
        await TwiceAsync(
            "allow-token-endpoint-audience.sql", ["client_id=payroll", until], heading, "billing|Billing|DATE", "payroll|Payroll|DATE");
        await TwiceAsync("allow-token-endpoint-audience.sql", ["client_id=billing", "until=none"], heading, "payroll|Payroll|DATE");
    }

    private static string KeyOf() => $"public_jwk={PublicJwk.NewP256()}";

    private async Task EndIsAsync(string overlap) => Assert.That(
        await database.ReadAsync<bool>(
            """
            select old.expires_at = new.not_before + @overlap::interval
            from token_service.client_key old, token_service.client_key new
            where old.kid = 'first' and new.kid <> 'first'
            """,
            new { overlap }),
        Is.True);

    // The second run prints the same and changes nothing.
    private async Task TwiceAsync(string script, string[] variables, params string[] printed)
    {
        (await RunAsync(script, variables)).Prints(printed);
        var once = await AuditedAsync();
        (await RunAsync(script, variables)).Prints(printed);
        Assert.That(await AuditedAsync(), Is.EqualTo(once));
    }

    private Task<long> AuditedAsync() => database.ReadAsync<long>("select max(id) from token_service.audit_log");

    private Task<Tool> RunAsync(string script, params string[] variables) => Psql.ScriptAsync(database, script, variables);
}
