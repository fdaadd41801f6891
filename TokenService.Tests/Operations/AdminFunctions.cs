using Dapper;
using Npgsql;
using TokenService.Clients;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Operations;

/// <summary>The SQL functions an admin goes through, and the schema's own last line of defence behind them.</summary>
[TestFixture]
public sealed class AdminFunctions
{
    private const string Plaintext = "a plaintext secret, pasted by mistake";

    private const string Digest =
        "'$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JVe9Zxzthx1TW+yJ0WQsnjyV8bZaqyPptE'";

    private const string HowToDigest =
        "Make one with \"TokenService secret new\", or digest a secret you already have with \"TokenService secret hash\". "
        + "Never store a secret itself: if one was pasted here, treat it as leaked.";

    private const string ClientIdGrammar = "Use 1 to 128 letters, digits, \".\", \"_\" and \"-\", beginning with a letter or digit.";

    private const string ScopeGrammar =
        "A scope is 1 to 128 printable ASCII characters without space, quotation mark and backslash (RFC 6749 §3.3).";

    // Arguments as SQL, which a test spoils one at a time.
    private static readonly Dictionary<string, string> ValidClient = new()
    {
        ["p_client_id"] = "'shipping'",
        ["p_name"] = "'The shipping service'",
        ["p_resource"] = "'https://api.example.com'",
        ["p_scopes"] = "array['parcels:read', 'parcels:write']",
        ["p_secret_id"] = "'imported_AAAAAAAAAAAA'",
        ["p_digest"] = Digest,
        ["p_default_scopes"] = "array['parcels:read']",
        ["p_methods"] = "array['client_secret_post']",
    };

    private static readonly Dictionary<string, string> ValidSecret = new()
    {
        ["p_client_id"] = "'billing'",
        ["p_secret_id"] = "'BBBBBBBBBBBB'",
        ["p_digest"] = Digest,
    };

    // RFC 7518 §6: what a JWK must not show.
    private static readonly string[] PrivateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

    // RFC 6749 §3.3: what is no scope-token.
    private static readonly string[] NotScopes = ["''", "'a b'", "'a\"b'", "'a\\b'", "'é'", "E'a\\n'", "repeat('a', 129)"];

    private Database database = null!;

    // The argument, the values it is spoiled with, and how that is refused.
    private static IEnumerable<TestCaseData> RefusedClients() =>
    [
        .. Refused("p_client_id", ["null", "''", "'-a'", "'.a'", "'a b'", "'a:b'", "'a/b'", "'é'", "E'a\\n'", "repeat('a', 129)"],
            PostgresErrorCodes.CheckViolation, "The client_id is outside the grammar.", ClientIdGrammar),
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
            "Use client_secret_basic, client_secret_post or both."),
        .. Refused("p_resource",
            ["null", "''", "'api.example.com'", "'/orders'", "'https:'", "'https://a#b'", "'https://a b'", "'https://a/é'",
                "E'https://a\\n'", "'https://' || repeat('a', 249)"],
            PostgresErrorCodes.CheckViolation, "The resource is not an absolute URI without a fragment.",
            "Use the identifier of the API, such as https://api.example.com."),
        .. Refused("p_scopes", ["null", "array[]::text[]"],
            PostgresErrorCodes.CheckViolation, "Client \"shipping\" would hold no scope, so it could get no token.",
            "Pass at least one scope."),
        .. Refused("p_default_scopes", ["array['parcels:delete']", "array['Parcels:read']", "array['parcels:read', null]"],
            PostgresErrorCodes.CheckViolation, "A default scope of client \"shipping\" is not among its scopes.",
            "Default scopes are those of its scopes granted when a request names none."),
        .. Refused("p_scopes",
            ["array['parcels:read', null]", .. NotScopes.Select(name => $"array['parcels:read', {name}]")],
            PostgresErrorCodes.CheckViolation, "A scope of client \"shipping\" is outside the grammar.", ScopeGrammar),
        .. Refused("p_resource", ["'https://other.example.com'"],
            PostgresErrorCodes.CheckViolation, "The scope \"parcels:read\" belongs to resource https://api.example.com.",
            "A scope belongs to one resource. Pass that resource, or name the scope differently."),
        .. RefusedSecretsOf("shipping"),
    ];

    private static IEnumerable<TestCaseData> RefusedSecrets() =>
    [
        .. Refused("p_client_id", ["'nobody'"],
            PostgresErrorCodes.NoDataFound, "There is no client \"nobody\".", "Make it with scripts/create-client.sql."),
        .. Refused("p_client_id", ["'tsvc_BBBBBBBBBBBB'"],
            PostgresErrorCodes.NoDataFound, "There is no client \"tsvc_…\".", "Make it with scripts/create-client.sql."),
        .. RefusedSecretsOf("billing"),
    ];

    private static IEnumerable<TestCaseData> RefusedSecretsOf(string client) =>
    [
        .. Refused("p_digest", ["null", "''", $"'{Plaintext}'"],
            PostgresErrorCodes.CheckViolation, $"The digest of client \"{client}\" is not an Argon2id digest.", HowToDigest),
        .. Refused("p_secret_id", ["null"],
            PostgresErrorCodes.NullValueNotAllowed, $"The digest of client \"{client}\" comes without its secret_id.",
            "Pass digest and secret_id together, as \"TokenService secret new\" or \"TokenService secret hash\" printed them."),
        .. Refused("p_secret_id",
            ["''", "'AAAAAAAAAAA'", "'AAAAAAAAAAAAA'", "'AAAAAAAAAAA_'", "'Imported_AAAAAAAAAAAA'", "E'AAAAAAAAAAAA\\n'", $"'{Plaintext}'"],
            PostgresErrorCodes.CheckViolation, $"The secret_id of client \"{client}\" is not one that TokenService made.",
            "Pass the secret_id that was printed beside the digest."),
        .. Refused("p_secret_id", ["'UsedUsedUsed'"],
            PostgresErrorCodes.UniqueViolation, "The secret_id \"UsedUsedUsed\" is in use already.",
            "Each secret is added once. Make a fresh one with \"TokenService secret new\"."),
    ];

    // Beside what the functions check: the table as it is reached by a plain INSERT.
    private static IEnumerable<TestCaseData> RefusedRows() =>
    [
        .. Rows("migration (number, name, checksum)", ("migration_pkey", ["1, 'again', ''"])),
        .. Rows("client (id, name)",
            ("client_pkey", ["'billing', 'again'"]),
            ("client_id_grammar",
                ["'', 'x'", "'-a', 'x'", "'a b', 'x'", "'a:b', 'x'", "'é', 'x'", "E'a\\n', 'x'", "repeat('a', 129), 'x'"]),
            ("client_name_length", ["'a', ''", "'a', repeat('x', 201)"])),
        .. Rows("client (id, name, authentication_methods)",
            ("client_authentication_methods_known", ["'a', 'x', '{}'", "'a', 'x', '{none}'", "'a', 'x', '{client_secret_basic,NULL}'"])),
        .. Rows("client (id, name, token_lifetime_seconds)",
            ("client_token_lifetime_range", ["'a', 'x', 59", "'a', 'x', 86401"])),
        .. Rows("client_secret (client_id, id, digest)",
            ("client_secret_pkey", [$"'billing', 'UsedUsedUsed', {Digest}"]),
            ("client_secret_client_fkey", [$"'nobody', 'CCCCCCCCCCCC', {Digest}"]),
            ("client_secret_id_grammar", [$"'billing', 'CCCCCCCCCCC', {Digest}", $"'billing', E'CCCCCCCCCCCC\\n', {Digest}"]),
            ("client_secret_digest_is_argon2id", [$"'billing', 'CCCCCCCCCCCC', '{Plaintext}'", "'billing', 'CCCCCCCCCCCC', ''"])),
        .. Rows("client_secret (client_id, id, digest, label)",
            ("client_secret_label_length",
                [$"'billing', 'CCCCCCCCCCCC', {Digest}, ''", $"'billing', 'CCCCCCCCCCCC', {Digest}, repeat('x', 201)"])),
        .. Rows("client_secret (client_id, id, digest, not_before, expires_at)",
            ("client_secret_expires_after_start", [$"'billing', 'CCCCCCCCCCCC', {Digest}, now(), now()"])),
        .. Rows("resource (audience, signing_alg)", ("resource_signing_alg_known", ["'https://other.example.com', 'none'"])),
        .. Rows("resource (audience)",
            ("resource_pkey", ["'https://api.example.com'"]),
            ("resource_audience_is_absolute_uri",
                ["''", "'api.example.com'", "'/orders'", "'https:'", "'https://a#b'", "'https://a b'", "'https://' || repeat('a', 249)"])),
        .. Rows("scope (name, audience)",
            ("scope_pkey", ["'parcels:read', 'https://api.example.com'"]),
            ("scope_resource_fkey", ["'a', 'https://nowhere.example.com'"]),
            ("scope_name_grammar",
                [.. NotScopes.Select(name => $"{name}, 'https://api.example.com'")])),
        .. Rows("client_scope (client_id, scope)",
            ("client_scope_pkey", ["'billing', 'parcels:read'"]),
            ("client_scope_client_fkey", ["'nobody', 'parcels:read'"]),
            ("client_scope_scope_fkey", ["'billing', 'nothing'"])),
        .. Rows(
            "signing_key (sealing_key_id, sealed_private_key, kid, alg, public_jwk, published_at, known_from, signs_from, signs_until, "
            + "jwks_max_age_seconds, longest_token_seconds)",
            ("signing_key_pkey", ["'test', '', 'used', 'ES256', '{}', now(), now(), now(), null, 300, 0"]),
            ("signing_key_alg_known",
                ["'test', '', 'a', 'none', '{}', now(), now(), now(), null, 300, 0", "'test', '', 'a', 'HS256', '{}', now(), now(), now(), null, 300, 0"]),
            ("signing_key_public_jwk_is_public",
                [
                    "'test', '', 'a', 'ES256', '[]', now(), now(), now(), null, 300, 0",
                    .. PrivateMembers.Select(member => $$"""'test', '', 'a', 'ES256', '{"{{member}}": ""}', now(), now(), now(), null, 300, 0"""),
                ]),
            ("signing_key_dates_in_order",
                [
                    "'test', '', 'a', 'ES256', '{}', now(), now(), now() - interval '1 second', null, 300, 0",
                    "'test', '', 'a', 'ES256', '{}', now(), now() - interval '1 second', now(), null, 300, 0",
                    "'test', '', 'a', 'ES256', '{}', now(), now(), now(), now() - interval '1 second', 300, 0",
                ]),
            ("signing_key_can_sign", ["'test', null, 'a', 'ES256', '{}', now(), now(), now(), null, 300, 0"]),
            ("signing_key_jwks_max_age_range",
                ["'test', '', 'a', 'ES256', '{}', now(), now(), now(), null, 0, 0", "'test', '', 'a', 'ES256', '{}', now(), now(), now(), null, 86401, 0"]),
            ("signing_key_longest_token_range",
                ["'test', '', 'a', 'ES256', '{}', now(), now(), now(), null, 300, -1", "'test', '', 'a', 'ES256', '{}', now(), now(), now(), null, 300, 86401"])),
    ];

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        await database.CreateClientAsync("billing", "parcels:read", "");
        await database.ExecuteAsync($"select token_service.add_secret('billing', 'UsedUsedUsed', {Digest})");
        await database.ExecuteAsync(
            """
            insert into token_service.signing_key (
                kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, signs_from, jwks_max_age_seconds)
            values ('used', 'ES256', '{}', '', 'test', now(), now(), now(), 300)
            """);
    }

    [OneTimeTearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [Test]
    public async Task A_client_is_made_with_what_it_was_given()
    {
        var arguments = new Dictionary<string, string>(ValidClient) { ["p_client_id"] = "'made'", ["p_secret_id"] = "'MadeMadeMade'" };
        Assert.That(await database.ReadAsync<string>(Call("create_client", arguments)), Is.EqualTo("made"));

        var made = await database.ReadAsync<string>(
            """
            select concat_ws(
                ' | ', c.name, c.enabled, c.authentication_methods, c.token_lifetime_seconds, s.id, s.digest = @digest, sc.scopes)
            from token_service.client c
            join token_service.client_secret s on s.client_id = c.id
            cross join (
                select string_agg(concat_ws(' ', scope, audience, is_default), ', ' order by scope) as scopes
                from token_service.client_scope join token_service.scope on name = scope
                where client_id = 'made') sc
            where c.id = 'made'
            """,
            new { digest = Digest.Trim('\'') });
        Assert.That(made, Is.EqualTo(
            "The shipping service | t | {client_secret_post} | MadeMadeMade | t | "
            + "parcels:read https://api.example.com t, parcels:write https://api.example.com f"));
    }

    [TestCaseSource(nameof(RefusedClients))]
    public Task A_client_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("create_client", new(ValidClient) { [argument] = value }), state, message, hint);

    [TestCaseSource(nameof(RefusedSecrets))]
    public Task A_secret_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("add_secret", new(ValidSecret) { [argument] = value }), state, message, hint);

    [Test]
    public async Task A_client_has_any_number_of_generated_secrets()
    {
        var client = await database.CreateClientAsync("many", "parcels:read", "");
        for (var i = 0; i < 20; i++)
            await database.AddSecretAsync(client.Id, GeneratedSecret.Create().Value);

        Assert.That(
            await database.ReadAsync<int>("select count(*) from token_service.client_secret where client_id = 'many'"), Is.EqualTo(21));
    }

    [Test]
    public async Task A_client_has_at_most_four_imported_secrets_alive()
    {
        var client = await database.CreateClientAsync("imported", "parcels:read", "");
        for (var i = 0; i < 4; i++)
            await database.AddSecretAsync(client.Id, Plaintext);
        await RefusesAFifthAsync();
        await database.AddSecretAsync(client.Id, GeneratedSecret.Create().Value);

        // The dead do not count, however they died.
        await EndOneAsync("revoked_at = now()");
        await database.AddSecretAsync(client.Id, Plaintext);
        await RefusesAFifthAsync();
        await EndOneAsync("not_before = now() - interval '1 hour', expires_at = now()");
        await database.AddSecretAsync(client.Id, Plaintext);
        await RefusesAFifthAsync();

        Task EndOneAsync(string how) => database.ExecuteAsync(
            $"""
            update token_service.client_secret set {how}
            where id = (
                select id from token_service.client_secret
                where client_id = 'imported' and id like 'imported%' and revoked_at is null and expires_at is null limit 1)
            """);

        Task RefusesAFifthAsync() => IsRefusedAsync(
            Call("add_secret", new(ValidSecret) { ["p_client_id"] = "'imported'", ["p_secret_id"] = "'imported_BBBBBBBBBBBB'" }),
            PostgresErrorCodes.ProgramLimitExceeded,
            "Client \"imported\" already has 4 imported secrets alive.",
            "Revoke one, or use a secret made by \"TokenService secret new\", of which there may be any number.");
    }

    [TestCaseSource(nameof(RefusedRows))]
    public void A_row_is_refused_by_a_constraint_that_says_why(string constraint, string insert) =>
        Assert.That(
            () => database.ExecuteAsync(insert),
            Throws.InstanceOf<PostgresException>().With.Property(nameof(PostgresException.ConstraintName)).EqualTo(constraint));

    [Test]
    public async Task Every_constraint_has_a_row_that_it_refuses()
    {
        await using var connection = await database.Source.OpenConnectionAsync();
        var constraints = await connection.QueryAsync<string>(
            """
            select conname from pg_constraint
            where connamespace = 'token_service'::regnamespace
              and contype in ('c', 'f', 'p', 'u', 'x')
            """);
        Assert.That(RefusedRows().Select(row => row.Arguments[0]).Distinct(), Is.EquivalentTo(constraints));
    }

    [Test]
    public async Task Every_table_column_and_function_has_a_comment()
    {
        await using var connection = await database.Source.OpenConnectionAsync();
        var uncommented = await connection.QueryAsync<string>(
            """
            select c.relname || coalesce('.' || a.attname, '')
            from pg_class c
            left join pg_attribute a on a.attrelid = c.oid and a.attnum >= 0 and not a.attisdropped
            where c.relnamespace = 'token_service'::regnamespace
              and c.relkind in ('r', 'p', 'v', 'm')
              and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)
            union all
            select proname || '()' from pg_proc
            where pronamespace = 'token_service'::regnamespace
              and obj_description(oid, 'pg_proc') is null
            """);
        Assert.That(uncommented, Is.Empty);
    }

    private async Task IsRefusedAsync(string call, string state, string message, string hint)
    {
        var before = await ContentsAsync();
        var refusal = (await Assert.ThrowsAsync<PostgresException>(() => database.ExecuteAsync(call)))!;

        using (Assert.EnterMultipleScope())
        {
            Assert.That(refusal.MessageText, Is.EqualTo(message));
            Assert.That(refusal.Hint, Is.EqualTo(hint));
            Assert.That(refusal.SqlState, Is.EqualTo(state));
            // The log of the server and the terminal of the admin keep all of these.
            Assert.That(
                string.Join('\n', refusal.MessageText, refusal.Detail, refusal.Hint, refusal.Where, refusal.InternalQuery),
                Does.Not.Contain(Plaintext));
            Assert.That(await ContentsAsync(), Is.EqualTo(before), "nothing changed");
        }
    }

    private Task<string?> ContentsAsync() => database.ReadAsync<string>(
        """
        select concat(
            (select jsonb_agg(t) from token_service.client t), (select jsonb_agg(t) from token_service.client_secret t),
            (select jsonb_agg(t) from token_service.resource t), (select jsonb_agg(t) from token_service.scope t),
            (select jsonb_agg(t) from token_service.client_scope t))
        """);

    private static string Call(string function, Dictionary<string, string> arguments) =>
        $"select token_service.{function}({string.Join(", ", arguments.Select(a => $"{a.Key} => {a.Value}"))})";

    private static IEnumerable<TestCaseData> Refused(string argument, string[] values, string state, string message, string hint) =>
        values.Select(value => new TestCaseData(argument, value, state, message, hint).SetArgDisplayNames(argument, value));

    private static IEnumerable<TestCaseData> Rows(string table, params (string Constraint, string[] Values)[] refused) =>
        from r in refused
        from values in r.Values
        select new TestCaseData(r.Constraint, $"insert into token_service.{table} values ({values})")
            .SetArgDisplayNames(r.Constraint, values);
}
