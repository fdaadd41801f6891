using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>The SQL functions that make, change, disable and delete clients.</summary>
[TestFixture]
public sealed class ClientFunctions : AdminFixture
{
    private const string ClientIdGrammar = "Use 1 to 128 letters, digits, \".\", \"_\" and \"-\", beginning with a letter or digit.";

    private const string AnotherResource =
        "The aud of tokens for a resource is its id, and the aud of answers to introspection is the client_id. Choose another name, or a "
        + "URI, so that no API takes the one for the other.";

    // Arguments as SQL, which a test spoils one at a time.
    private static readonly Dictionary<string, string> ValidClient = new()
    {
        ["p_client_id"] = "'shipping'",
        ["p_name"] = "'The shipping service'",
        ["p_resource"] = "'https://api.example.com'",
        ["p_scopes"] = "array['parcels:read', 'parcels:write']",
        ["p_default_scopes"] = "array['parcels:read']",
        ["p_methods"] = "array['client_secret_post']",
    };

    // RFC 7519 §4.1, RFC 9068 §2.2, RFC 8693 §4, OpenID Connect, and the claims from which APIs read who a person is.
    private static readonly string[] ReservedClaims =
    [
        "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "cnf", "act", "may_act", "typ", "nonce",
        "at_hash", "c_hash", "auth_time", "acr", "amr", "sid", "events", "authorization_details", "name",
        "given_name", "family_name", "middle_name", "nickname", "preferred_username", "username", "email", "email_verified",
        "phone_number", "phone_number_verified",
    ];

    // The argument, the values it is spoiled with, and how each is refused.
    private static IEnumerable<TestCaseData> RefusedClients() =>
    [
        .. Refused("p_client_id", ["null", "''", "'a b'", "'*'", "'é'", "E'a\\n'", "repeat('a', 256)"],
            PostgresErrorCodes.CheckViolation, "The client_id is outside the grammar.", ClientIdGrammar),
        .. Refused("p_client_id", ["'-a'", "'.a'", "'a:b'", "'a/b'", "repeat('a', 129)"],
            PostgresErrorCodes.CheckViolation, "The client_id is outside the grammar.",
            ClientIdGrammar + " Pass -v imported=on for a client that had this id at another server."),
        .. Refused("p_client_id", ["'tsvc_BBBBBBBBBBBB'"],
            PostgresErrorCodes.CheckViolation, "The client_id looks like a secret.",
            "Choose another client_id. If that was a secret, treat it as leaked."),
        .. Refused("p_client_id", ["'billing'"],
            PostgresErrorCodes.UniqueViolation, "There is already a client \"billing\".", "Choose another client_id."),
        .. Refused("p_name", ["null", "''", "repeat('a', 201)"],
            PostgresErrorCodes.CheckViolation, "The name of client \"shipping\" is empty or longer than 200 characters.",
            "Say in a few words what the client is."),
        .. Refused("p_methods",
            ["null", "array[]::text[]", "array['none']", "array['client_secret_basic', 'none']", "array['client_secret_basic', null]"],
            PostgresErrorCodes.CheckViolation, "The authentication methods of client \"shipping\" are not ones this server offers.",
            "Use client_secret_basic, client_secret_post, private_key_jwt, or several of them."),
        .. Refused("p_resource",
            ["null", .. NotResources],
            PostgresErrorCodes.CheckViolation, "The resource is neither an absolute URI without a fragment nor a plain name.",
            "Use the identifier of the API, such as https://api.example.com, or the name it already expects as aud."),
        .. Refused("p_client_id", ["'plain-name'"],
            PostgresErrorCodes.UniqueViolation, "There is already a resource \"plain-name\".",
            "The aud of tokens for a resource is its id, and the aud of answers to introspection is the client_id. "
            + "Choose another client_id, so that no API takes the one for the other."),
        .. Refused("p_resource", ["'billing'"],
            PostgresErrorCodes.UniqueViolation, "There is already a client \"billing\".", AnotherResource),
        .. Refused("p_resource", ["'shipping'"],
            PostgresErrorCodes.UniqueViolation, "There is already a resource \"shipping\".",
            "The aud of tokens for a resource is its id, and the aud of answers to introspection is the client_id. "
            + "Choose another client_id, so that no API takes the one for the other."),
        .. Refused("p_scopes", ["null", "array[]::text[]"],
            PostgresErrorCodes.CheckViolation, "Client \"shipping\" would hold no scope, so it could get no token.",
            "Pass at least one scope, or no resource either, for a client that only speaks for an API."),
        .. Refused("p_default_scopes", ["array['parcels:delete']", "array['Parcels:read']", "array['parcels:read', null]"],
            PostgresErrorCodes.CheckViolation, "A default scope of client \"shipping\" is not among its scopes.",
            "Default scopes are those of its scopes granted when a request names none."),
        .. Refused("p_scopes",
            ["array['parcels:read', null]", .. NotScopes.Select(name => $"array['parcels:read', {name}]")],
            PostgresErrorCodes.CheckViolation, "A scope is outside the grammar.", ScopeGrammar),
    ];

    private static IEnumerable<TestCaseData> RefusedUpdates() =>
    [
        .. RefusedClientIds(),
        .. Refused("p_name", ["''", "repeat('a', 201)"],
            PostgresErrorCodes.CheckViolation, "The name of client \"billing\" is empty or longer than 200 characters.",
            "Say in a few words what the client is."),
        .. Refused("p_methods",
            ["array[]::text[]", "array['none']", "array['client_secret_basic', 'none']", "array['client_secret_basic', null]"],
            PostgresErrorCodes.CheckViolation, "The authentication methods of client \"billing\" are not ones this server offers.",
            "Use client_secret_basic, client_secret_post, private_key_jwt, or several of them."),
        .. Refused("p_token_lifetime",
            ["'59 seconds'", "'1 day 1 second'", "'60.5 seconds'", "'-10 minutes'", "'0.5 seconds'", "'1 month'", "'1 year -360 days'"],
            PostgresErrorCodes.CheckViolation, "The token lifetime of client \"billing\" is not 1 minute to 1 day in whole seconds.",
            "Say something like '10 minutes'; '0' is the server's default."),
        .. Refused("p_tokens_per_minute", ["-1", "1000001"],
            PostgresErrorCodes.CheckViolation, "The tokens per minute of client \"billing\" are not 1 to 1000000.",
            "Each replica counts for itself; 0 means no limit."),
        .. Refused("p_extra_claims", ["'[]'", "'null'", "'1'", "'\"sub\"'", "jsonb_build_object('a', repeat('x', 1016))"],
            PostgresErrorCodes.CheckViolation, "The extra claims of client \"billing\" are not a JSON object of at most 1024 bytes.",
            "Say something like '{\"tenant\": \"north\"}'; '{}' removes them."),
        .. Refused("p_extra_claims", [$"'{Nested("{\"a\": ", 17, "}")}'", $"'{{\"a\": {Nested("[", 16, "]")}}}'"],
            PostgresErrorCodes.CheckViolation, "The extra claims of client \"billing\" are nested more than 16 levels deep.",
            "Put fewer objects and lists inside one another: some readers of tokens give up at this depth."),
        .. ReservedClaims.SelectMany(claim => Refused("p_extra_claims", [$$"""'{"tenant": 1, "{{claim}}": null}'"""],
            PostgresErrorCodes.CheckViolation, $"The extra claims of client \"billing\" include a reserved one: {claim}.",
            "The server sets it, or APIs read from it who a person is. Choose another name, such as a URI of your own.")),
    ];

    [Test]
    public async Task A_client_is_made_with_the_properties_that_are_passed()
    {
        var arguments = new Dictionary<string, string>(ValidClient) { ["p_client_id"] = "'made'" };
        Assert.That(await Database.ReadAsync<string>(Call("create_client", arguments)), Is.EqualTo("made"));

        var made = await Database.ReadAsync<string>(
            """
            select concat_ws(
                ' | ', c.name, c.enabled, c.authentication_methods, c.token_lifetime_seconds, sc.scopes,
                (select count(*) from token_service.client_secret where client_id = 'made'))
            from token_service.client c
            cross join (
                select string_agg(concat_ws(' ', scope, resource, is_default), ', ' order by scope) as scopes
                from token_service.client_scope
                where client_id = 'made') sc
            where c.id = 'made'
            """);
        Assert.That(made, Is.EqualTo(
            "The shipping service | t | {client_secret_post} | "
            + "parcels:read https://api.example.com t, parcels:write https://api.example.com f | 0"), "without a secret");
    }

    private static int number;

    [OneTimeSetUp]
    public Task CreateNamedResource() => Database.ExecuteAsync("select token_service.create_resource('plain-name')");

    // Each function checks that the other's name is free, so one of the two waits.
    [TestCase("create_client('contended-1', 'x')", "create_resource('contended-1')", "There is already a client \"contended-1\".")]
    [TestCase("create_resource('contended-2')", "create_client('contended-2', 'x')", "There is already a resource \"contended-2\".")]
    public async Task A_client_and_a_resource_made_at_the_same_time_do_not_get_the_same_name(string first, string second, string message)
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using (var command = new NpgsqlCommand($"select token_service.{first}", connection, transaction))
            await command.ExecuteNonQueryAsync();
        var later = Database.ExecuteAsync($"select token_service.{second}");
        await Soon.IsAsync("the second waits for the first", async () => later.IsCompleted || await Database.ReadAsync<bool>(
            "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"));
        await transaction.CommitAsync();

        var refusal = await Assert.ThrowsAsync<PostgresException>(() => later);
        Assert.That(refusal!.MessageText, Is.EqualTo(message));
    }

    [TestCase("https://api.example.com")]
    [TestCase("plain-name")]
    public async Task An_open_transaction_does_not_hold_up_another_client_of_the_same_resource(string resource)
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var first = $"select token_service.create_client('first-{number}', 'x', '{resource}', array['shared:read'])";
        await using (var command = new NpgsqlCommand(first, connection, transaction))
            await command.ExecuteNonQueryAsync();

        // Far less than 10 seconds, unless it waits for the open transaction.
        await Database.ExecuteAsync(
            $"""
            set lock_timeout = '10s';
            select token_service.create_client('second-{number++}', 'x', '{resource}', array['other:read']);
            reset lock_timeout
            """);
        await transaction.RollbackAsync();
    }

    // Each lock takes a place in a table that all sessions share.
    [Test]
    public async Task Many_clients_are_made_in_one_transaction_without_a_lock_for_each()
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var command = new NpgsqlCommand(
            """
            select token_service.create_client('many-' || n, 'x') from generate_series(1, 500) n;
            select count(*) from pg_locks where pid = pg_backend_pid()
            """,
            connection, transaction);
        await using var reader = await command.ExecuteReaderAsync();
        await reader.NextResultAsync();
        await reader.ReadAsync();

        Assert.That(reader.GetInt64(0), Is.LessThan(100));
    }

    // A replica that writes its counts does not wait for the locks of an admin's open transaction.
    [Test]
    public async Task Counting_of_uses_goes_on_while_an_admin_changes_the_client()
    {
        var client = await CreateAsync("counted");
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        const string Update = "select token_service.update_client('counted', 'Another name')";
        await using (var command = new NpgsqlCommand(Update, connection, transaction))
            await command.ExecuteNonQueryAsync();

        // The insert takes far less than 10 seconds, unless it waits for the open transaction.
        await Database.ExecuteAsync(
            """
            set lock_timeout = '10s';
            insert into token_service.credential_use
            select 'secret', id, client_id, now(), now(), null, 1 from token_service.client_secret where client_id = @Id;
            reset lock_timeout
            """,
            client);
        await transaction.RollbackAsync();
        await Database.ExecuteAsync("delete from token_service.credential_use");
    }

    [TestCaseSource(nameof(RefusedClients))]
    public Task A_client_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("create_client", new(ValidClient) { [argument] = value }), state, message, hint);

    [TestCaseSource(nameof(RefusedUpdates))]
    public Task An_update_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("update_client", new() { ["p_client_id"] = "'billing'", [argument] = value }), state, message, hint);

    // From these claims .NET reads the name or the role of a person.
    [TestCase("role")]
    [TestCase("unique_name")]
    [TestCase("http://schemas.microsoft.com/ws/2008/06/identity/claims/role")]
    [TestCase("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name")]
    [TestCase("HTTP://Schemas.xmlsoap.org/ws/2005/05/identity/claims/name")]
    [TestCase("SCOPE", Description = "ASP.NET Core's policies compare the names of claims without case")]
    [TestCase("Aud")]
    [TestCase("Roles")]
    [TestCase("Tid")]
    [TestCase("Email")]
    public Task A_claim_from_which_dotnet_reads_a_person_or_a_role_is_reserved(string claim) =>
        IsRefusedAsync(
            $"select token_service.update_client('billing', p_extra_claims => jsonb_build_object('{claim}', 'admin'))",
            PostgresErrorCodes.CheckViolation, $"The extra claims of client \"billing\" include a reserved one: {claim}.",
            "The server sets it, or APIs read from it who a person is. Choose another name, such as a URI of your own.");

    // RFC 9068 §2.2.3.1 has the first three; APIs that are used to another server expect the others.
    [TestCase("roles"), Rfc(9068, "2.2.3.1")]
    [TestCase("groups")]
    [TestCase("entitlements")]
    [TestCase("tid")]
    [TestCase("azp")]
    [TestCase("scp")]
    public async Task An_admin_may_give_a_claim_that_another_server_wrote(string claim)
    {
        await Database.ExecuteAsync(
            "select token_service.update_client('billing', p_extra_claims => jsonb_build_object(@claim, 'x'))", new { claim });

        const string Given = "select extra_claims ->> @claim from token_service.client where id = 'billing'";
        Assert.That(await Database.ReadAsync<string>(Given, new { claim }), Is.EqualTo("x"));
    }

    [Test]
    public Task The_refusal_names_every_reserved_claim() =>
        IsRefusedAsync(
            """select token_service.update_client('billing', p_extra_claims => '{"tenant": 1, "exp": 1, "iss": 1}')""",
            PostgresErrorCodes.CheckViolation, "The extra claims of client \"billing\" include a reserved one: exp, iss.",
            "The server sets it, or APIs read from it who a person is. Choose another name, such as a URI of your own.");

    [Test]
    public async Task An_update_changes_only_the_property_that_is_passed()
    {
        await CreateAsync("updated");
        await IsAsync("A client of a test | t | client_secret_basic | - | - | {}");

        await UpdateAsync("p_name", "'Another name'", "Another name | t | client_secret_basic | - | - | {}");
        await UpdateAsync("p_token_lifetime", "'10 minutes'", "Another name | t | client_secret_basic | 600 | - | {}");
        await UpdateAsync("p_methods", "array['client_secret_post', 'client_secret_basic']",
            "Another name | t | client_secret_post client_secret_basic | 600 | - | {}");
        await UpdateAsync("p_extra_claims", """'{"tenant": "north"}'""",
            """Another name | t | client_secret_post client_secret_basic | 600 | - | {"tenant": "north"}""");
        await UpdateAsync("p_token_lifetime", "'1 day'",
            """Another name | t | client_secret_post client_secret_basic | 86400 | - | {"tenant": "north"}""");
        foreach (var ceiling in new[] { "1000000", "1" })
        {
            await UpdateAsync("p_tokens_per_minute", ceiling,
                $$"""Another name | t | client_secret_post client_secret_basic | 86400 | {{ceiling}} | {"tenant": "north"}""");
        }

        // These three values remove what was set.
        await UpdateAsync("p_token_lifetime", "'0'",
            """Another name | t | client_secret_post client_secret_basic | - | 1 | {"tenant": "north"}""");
        await UpdateAsync("p_tokens_per_minute", "0",
            """Another name | t | client_secret_post client_secret_basic | - | - | {"tenant": "north"}""");
        await UpdateAsync("p_extra_claims", "'{}'", "Another name | t | client_secret_post client_secret_basic | - | - | {}");

        async Task UpdateAsync(string argument, string value, string expected)
        {
            var call = Call("update_client", new() { ["p_client_id"] = "'updated'", [argument] = value });
            await Database.ExecuteAsync(call);
            await IsAsync(expected);
            await ChangesNothingAsync(call);
        }

        async Task IsAsync(string expected) => Assert.That(
            await RowsAsync(
                """
                select name, case when enabled then 't' else 'f' end, array_to_string(authentication_methods, ' '),
                       token_lifetime_seconds, tokens_per_minute, extra_claims
                from token_service.client where id = 'updated'
                """),
            Is.EqualTo([expected]));
    }

    [Test]
    public async Task A_client_is_disabled_and_enabled_again()
    {
        await CreateAsync("switched");
        foreach (var enabled in new[] { false, true })
        {
            await Database.ExecuteAsync($"select token_service.set_client_enabled('switched', {enabled})");
            Assert.That(
                await Database.ReadAsync<bool>("select enabled from token_service.client where id = 'switched'"), Is.EqualTo(enabled));
            await ChangesNothingAsync($"select token_service.set_client_enabled('switched', {enabled})");
        }

        await IsRefusedAsync(
            "select token_service.set_client_enabled('switched', null)",
            PostgresErrorCodes.NullValueNotAllowed, "The argument p_enabled of client \"switched\" is missing.", "Say true or false.");
    }

    [TestCaseSource(nameof(RefusedClientIds))]
    public async Task An_unknown_client_is_refused(string argument, string value, string state, string message, string hint)
    {
        await IsRefusedAsync(Call("set_client_enabled", new() { [argument] = value, ["p_enabled"] = "true" }), state, message, hint);
        await IsRefusedAsync(Call("delete_client", new() { [argument] = value }), state, message, hint);
    }

    [Test]
    public async Task Only_a_disabled_client_is_deleted_together_with_all_its_rows()
    {
        await CreateAsync("gone");
        await Database.ExecuteAsync(
            """
            insert into token_service.credential_use
            select 'secret', id, client_id, now(), now(), null, 1 from token_service.client_secret where client_id = 'gone';
            insert into token_service.client_key (client_id, kid, alg, public_jwk) values ('gone', 'a', 'ES256', '
            """ + PublicJwk.P256 + """
            ');
            insert into token_service.credential_use values ('key', 'gone a', 'gone', now(), now(), null, 1);
            insert into token_service.scope_use values ('gone', 'https://api.example.com', 'parcels:read', now(), now(), 1)
            """);
        await IsRefusedAsync(
            "select token_service.delete_client('gone')",
            PostgresErrorCodes.ObjectNotInPrerequisiteState, "Client \"gone\" is enabled.",
            "Disable it with scripts/disable-client.sql, and delete it when nobody has missed it.");

        await Database.ExecuteAsync("select token_service.set_client_enabled('gone', false), token_service.delete_client('gone')");
        Assert.That(
            await RowsAsync(
                """
                select 'client' from token_service.client where id = 'gone'
                union all select 'client_secret' from token_service.client_secret where client_id = 'gone'
                union all select 'client_key' from token_service.client_key where client_id = 'gone'
                union all select 'client_scope' from token_service.client_scope where client_id = 'gone'
                union all select 'scope_use' from token_service.scope_use where client_id = 'gone'
                union all select 'credential_use' from token_service.credential_use
                """),
            Is.Empty);
    }

    private Task<TestClient> CreateAsync(string id) =>
        Database.CreateClientAsync(id, "parcels:read", "", methods: "client_secret_basic");
}
