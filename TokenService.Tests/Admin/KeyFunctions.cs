using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>
/// Keys of clients as the functions add, rotate and revoke them, and what tokens must be bound to.
/// </summary>
[TestFixture]
public sealed class KeyFunctions : AdminFixture
{
    // When these tests take place; what they add through functions is made before.
    private const string Now = "timestamptz '2040-01-31 00:00Z'";

    private const string OneJwk = "Pass the public half as one JSON object, as \"TokenService client-key new\" prints it.";

    private static readonly Dictionary<string, string> ValidKey = new()
    {
        ["p_client_id"] = "'billing'",
        ["p_public_jwk"] = $"'{PublicJwk.NewP256()}'",
    };

    private static int clients;

    [OneTimeSetUp]
    public Task AddTakenKeys() => Database.ExecuteAsync(
        $"""
        select token_service.update_client('billing', p_methods => array['client_secret_basic', 'private_key_jwt']);
        select token_service.add_key('billing', '{PublicJwk.P256}', 'taken');
        select token_service.add_key('billing', '{PublicJwk.P384}', 'ended');
        select token_service.revoke_key('billing', 'ended');
        """);

    [SetUp]
    public Task SetInstant() => Database.SetInstantAsync(Now);

    private static IEnumerable<TestCaseData> RefusedKeys() =>
    [
        .. RefusedClientIds(),
        .. Refused("p_public_jwk", ["null", "'[]'", "'1'", $"'\"{Plaintext}\"'"],
            PostgresErrorCodes.CheckViolation, "The key for client \"billing\" is not one JWK.", OneJwk),
        .. Refused("p_public_jwk", [$$"""'{"keys": [{{PublicJwk.Ed25519}}]}'"""],
            PostgresErrorCodes.CheckViolation, "The key for client \"billing\" is not one JWK.",
            "It is a set of keys. Pass one of them at a time."),
        .. Refused("p_public_jwk",
            [
                .. new List<string> { "d", "p", "q", "dp", "dq", "qi", "oth", "k" }.Select(member =>
                    $"'{PublicJwk.Ed25519.With($"\"{member}\": \"{Plaintext}\"")}'"),
                $$"""'{"kty": "oct", "k": "{{Plaintext}}"}'""",
                $$"""'{"keys": [{"kty": "OKP", "d": "{{Plaintext}}"}]}'""",
                $$"""'[{"kty": "OKP", "d": "{{Plaintext}}"}]'""",
                $$"""'"{\"kty\": \"OKP\", \"d\": \"{{Plaintext}}\"}"'""",
            ],
            PostgresErrorCodes.CheckViolation, "The JWK for client \"billing\" has a private member, so this key is leaked now.",
            "Do not use it anywhere. Make a new key with \"TokenService client-key new\", and pass its public half only."),
        .. Refused("p_public_jwk",
            [$"'{PublicJwk.Ed25519.With("\"use\": \"enc\"")}'", $"'{PublicJwk.Ed25519.With("\"key_ops\": [\"sign\"]")}'"],
            PostgresErrorCodes.CheckViolation, "The JWK for client \"billing\" is not for verifying signatures.",
            "Its use must be \"sig\", and its key_ops must have \"verify\"; a JWK may lack both."),
        .. Refused("p_public_jwk", [$"'{PublicJwk.Rsa}'"],
            PostgresErrorCodes.NullValueNotAllowed, "The RSA key for client \"billing\" comes without its algorithm.",
            "Pass alg: PS256, or RS256 for a client that cannot sign with PS256."),
        .. Refused("p_public_jwk",
            [
                "'{}'", "'{\"kty\": \"EC\", \"crv\": \"P-521\", \"x\": \"\", \"y\": \"\"}'",
                "'{\"kty\": \"OKP\", \"crv\": \"Ed448\", \"x\": \"\", \"alg\": \"EdDSA\"}'",
                $"'{PublicJwk.Rsa.With("\"alg\": \"RSA-OAEP\"")}'", $"'{PublicJwk.Rsa.With($"\"alg\": \"{Plaintext}\"")}'",
            ],
            PostgresErrorCodes.CheckViolation, "The key for client \"billing\" is not of an algorithm that this server verifies.",
            "Use ES256, ES384, PS256, RS256 or Ed25519."),
        .. Refused("p_alg", ["''", "'none'", "'HS256'", "'es256'", $"'{Plaintext}'"],
            PostgresErrorCodes.CheckViolation, "The key for client \"billing\" is not of an algorithm that this server verifies.",
            "Use ES256, ES384, PS256, RS256 or Ed25519."),
        .. Refused("p_alg", ["'ES384'", "'PS256'"],
            PostgresErrorCodes.CheckViolation, "The key for client \"billing\" does not fit {p_alg}.", Fitting),
        .. Refused("p_public_jwk",
            [
                $"'{PublicJwk.P256.With("\"x\": \"short\"")}'", $"'{PublicJwk.P256.With($"\"y\": \"{Plaintext}\"")}'",
                "'{\"kty\": \"EC\", \"crv\": \"P-256\"}'", "'{\"kty\": \"oct\", \"alg\": \"ES256\"}'", "'{\"alg\": \"ES256\"}'",
            ],
            PostgresErrorCodes.CheckViolation, "The key for client \"billing\" does not fit ES256.", Fitting),
        .. Refused("p_kid", ["''", "'a b'", "'a\"b'", "'a\\b'", "'é'", "repeat('a', 129)", "'tsvc_BBBBBBBBBBBB'", $"'{Plaintext}'"],
            PostgresErrorCodes.CheckViolation, "The kid of the key for client \"billing\" is outside the grammar.", KidGrammar),
        .. Refused("p_public_jwk", [$"'{PublicJwk.Ed25519.With($"\"kid\": \"{Plaintext}\"")}'"],
            PostgresErrorCodes.CheckViolation, "The kid of the key for client \"billing\" is outside the grammar.", KidGrammar),
        .. Refused("p_kid", ["'taken'", "'ended'"],
            PostgresErrorCodes.UniqueViolation, "Client \"billing\" already has a key with this kid.", KidIsTaken),
        .. Refused("p_public_jwk", [$"'{PublicJwk.Ed25519.With("\"kid\": \"taken\"")}'"],
            PostgresErrorCodes.UniqueViolation, "Client \"billing\" already has a key with this kid.", KidIsTaken),
        .. Refused("p_public_jwk", [$"'{PublicJwk.P256}'", $"'{PublicJwk.P256.With("\"kid\": \"another\"")}'"],
            PostgresErrorCodes.UniqueViolation, "Client \"billing\" already has this key: its kid is \"taken\".", KeyIsTaken),
        .. Refused("p_public_jwk", [$"'{PublicJwk.P384}'"],
            PostgresErrorCodes.UniqueViolation, "Client \"billing\" already has this key: its kid is \"ended\".", KeyIsTaken),
        .. Refused("p_label", ["''", "repeat('x', 201)"],
            PostgresErrorCodes.CheckViolation, "The label of the key is empty or longer than 200 characters.",
            "Say in a few words where the key is kept, or leave the label out."),
        .. Refused("p_not_before", ["'20270-01-31'", "'infinity'", "'-infinity'"],
            PostgresErrorCodes.CheckViolation, "A date is not between the years 1900 and 9000.",
            "Check the year, or leave the date out."),
        .. Refused("p_expires_at", ["'20270-01-31'", "'infinity'", "'-infinity'"],
            PostgresErrorCodes.CheckViolation, "A date is not between the years 1900 and 9000.",
            "Check the year, or leave the date out."),
        .. Refused("p_expires_at", ["now()", "now() - interval '1 second'"],
            PostgresErrorCodes.CheckViolation, "The key would expire before it could be used.",
            "Choose an expires_at after now and after not_before, or leave it out."),
    ];

    private const string Fitting =
        "ES256 has the curve P-256, ES384 P-384, Ed25519 Ed25519; PS256 and RS256 have an RSA key of 2048 to 4096 bits. Numbers are "
        + "base64url without padding, coordinates at full length.";

    private const string KidGrammar =
        "It has 1 to 128 printable ASCII characters without space, quotation marks, \"`\" and \"\\\", and does not begin with tsvc_. "
        + "Leave it out for the thumbprint of the key.";

    private const string KidIsTaken =
        "Choose another kid, or leave it out for the thumbprint of the key. The kid of a revoked key stays taken.";

    private const string KeyIsTaken = "Make a new one with \"TokenService client-key new\". A revoked key cannot be added again.";

    private static IEnumerable<TestCaseData> RefusedRotations() =>
    [
        .. RefusedKeys(),
        .. Refused("p_overlap", ["null", "'-1 second'"],
            PostgresErrorCodes.CheckViolation, "The overlap is missing or negative.",
            "Say for how long the old keys still work, such as '24 hours'; '0' ends them at once."),
        .. Refused("p_overlap", ["'30 days 1 second'"],
            PostgresErrorCodes.CheckViolation, "The overlap is longer than 30 days, the longest the policy allows.",
            "Choose a shorter one, or raise max_overlap with scripts/set-policy.sql."),
        .. Refused("p_newest_kid", ["'ended'", "''"],
            PostgresErrorCodes.SerializationFailure, "Somebody else has just changed the keys of client \"billing\".",
            "Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end their new key too."),
    ];

    // A JWK, the algorithm that is passed, and the kid and algorithm that the key gets.
    private static IEnumerable<TestCaseData> Defaults() =>
    [
        new(PublicJwk.P256, "null", $"{PublicJwk.P256Thumbprint} | ES256"),
        new(PublicJwk.P256, "'ES256'", $"{PublicJwk.P256Thumbprint} | ES256"),
        new(PublicJwk.P256.With("\"alg\": \"ES256\", \"use\": \"sig\", \"key_ops\": [\"verify\"], \"kid\": \"its-own\""), "null",
            "its-own | ES256"),
        new(PublicJwk.P384.With("\"kid\": \"a\""), "null", "a | ES384"),
        new(PublicJwk.Ed25519, "null", $"{PublicJwk.Ed25519Thumbprint} | Ed25519"),
        new(PublicJwk.Ed25519, "'EdDSA'", $"{PublicJwk.Ed25519Thumbprint} | Ed25519"),
        new(PublicJwk.Ed25519.With("\"alg\": \"EdDSA\""), "null", $"{PublicJwk.Ed25519Thumbprint} | Ed25519"),
        new(PublicJwk.Ed25519.With("\"alg\": \"EdDSA\""), "'Ed25519'", $"{PublicJwk.Ed25519Thumbprint} | Ed25519"),
        new(PublicJwk.Rsa, "'PS256'", $"{PublicJwk.RsaThumbprint} | PS256"),
        new(PublicJwk.Rsa.With("\"alg\": \"RS256\""), "null", $"{PublicJwk.RsaThumbprint} | RS256"),
    ];

    // An old key's dates, and what a rotation at midnight of 31 January 2040 makes of them.
    private static IEnumerable<TestCaseData> Rotations() =>
    [
        new("'24 hours'", "null", "2039-01-01 00:00", "null", "ends 2040-02-01 00:00"),
        new("'0'", "null", "2039-01-01 00:00", "null", "ends 2040-01-31 00:00"),
        // The old one lives until the new one begins, and the overlap on top of that.
        new("'24 hours'", "'2040-02-10 00:00Z'", "2039-01-01 00:00", "null", "ends 2040-02-11 00:00"),
        // An end is brought forward, never put off.
        new("'24 hours'", "null", "2039-01-01 00:00", "'2040-03-01 00:00Z'", "ends 2040-02-01 00:00"),
        new("'24 hours'", "null", "2039-01-01 00:00", "'2040-01-31 00:01Z'", "ends 2040-01-31 00:01"),
        // One that has yet to begin has what is left of the overlap; one that would begin after it never does.
        new("'24 hours'", "null", "2040-01-31 12:00", "null", "ends 2040-02-01 00:00"),
        new("'24 hours'", "null", "2040-02-01 00:00", "null", "revoked 2040-01-31 00:00"),
    ];

    [TestCaseSource(nameof(RefusedKeys))]
    public Task A_key_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(
            Call("add_key", new(ValidKey) { [argument] = value }), state,
            message.Replace("{p_alg}", value.Trim('\''), StringComparison.Ordinal), hint);

    [Test]
    public async Task An_alg_or_a_kid_beside_another_one_in_the_JWK_is_refused()
    {
        var jwk = $"'{PublicJwk.Rsa.With("\"alg\": \"RS256\", \"kid\": \"its-own\"")}'";
        await IsRefusedAsync(
            $"select token_service.add_key('billing', {jwk}, p_alg => 'PS256')",
            PostgresErrorCodes.CheckViolation, "The alg in the JWK for client \"billing\" is another one than the alg that was passed.",
            "Leave alg out, or pass the one with which the client signs its assertions, and correct the JWK.");
        await IsRefusedAsync(
            $"select token_service.add_key('billing', {jwk}, 'another')",
            PostgresErrorCodes.CheckViolation, "The kid in the JWK for client \"billing\" is another one than the kid that was passed.",
            "Leave kid out, or pass the one that the client puts into the header of its assertions, and correct the JWK.");
    }

    [TestCaseSource(nameof(Defaults))]
    public async Task A_key_gets_the_kid_and_the_algorithm_that_it_has(string jwk, string alg, string expected)
    {
        var client = await ClientAsync();
        var kid = await Database.ReadAsync<string>($"select token_service.add_key('{client}', '{jwk}', p_alg => {alg})");
        var rows = await RowsAsync($"select kid, alg from token_service.client_key where client_id = '{client}'");
        Assert.That(rows, Is.EqualTo([expected]));
        Assert.That(expected, Does.StartWith($"{kid} | "));
    }

    [Test]
    public async Task A_key_is_added_beside_the_others_and_nothing_but_the_key_is_kept_of_the_JWK()
    {
        var client = await ClientAsync();
        await AddAsync(client, "first");
        await Database.ExecuteAsync(
            $"""
            select token_service.add_key(
                '{client}', '{PublicJwk.P256.With("\"alg\": \"ES256\", \"x5c\": [\"MII\"], \"note\": \"x\"")}', 'second',
                p_label => 'in the HSM', p_not_before => '2030-01-01Z', p_expires_at => '2031-01-01Z')
            """);
        Assert.That(
            await RowsAsync(
                $"""
                select kid, label, not_before = '2030-01-01Z', expires_at = '2031-01-01Z', revoked_at,
                       public_jwk = '{PublicJwk.P256}' and kid = 'second'
                from token_service.client_key where client_id = '{client}' order by created_at
                """),
            Is.EqualTo(["first | - | False | - | - | False", "second | in the HSM | True | True | - | True"]));
    }

    [Test]
    public async Task Two_clients_may_have_one_kid_and_one_key()
    {
        foreach (var client in new[] { await ClientAsync(), await ClientAsync() })
            await Database.ExecuteAsync($"select token_service.add_key('{client}', '{PublicJwk.P256}', 'shared')");
        Assert.That(await Database.ReadAsync<int>("select count(*) from token_service.client_key where kid = 'shared'"), Is.EqualTo(2));
    }

    [Test]
    public async Task A_client_has_at_most_sixteen_keys_alive()
    {
        var client = await ClientAsync();
        for (var i = 0; i < 16; i++)
            await AddAsync(client, $"key-{i}");
        await RefusesASeventeenthAsync();

        // Dead keys do not count, whether they were revoked or have expired.
        await Database.ExecuteAsync($"select token_service.revoke_key('{client}', 'key-0')");
        await AddAsync(client, "key-16");
        await RefusesASeventeenthAsync();
        await Database.ExecuteAsync(
            $"""
            update token_service.client_key set not_before = now() - interval '1 hour', expires_at = now()
            where client_id = '{client}' and kid = 'key-1'
            """);
        await AddAsync(client, "key-17");
        await RefusesASeventeenthAsync();

        Task RefusesASeventeenthAsync() => IsRefusedAsync(
            Call("add_key", new(ValidKey) { ["p_client_id"] = $"'{client}'" }),
            PostgresErrorCodes.ProgramLimitExceeded, $"Client \"{client}\" already has 16 keys alive.",
            "Revoke one with scripts/revoke-key.sql: scripts/credentials-report.sql shows which are not used.");
    }

    [Test]
    public async Task A_credential_that_the_client_may_not_use_warns()
    {
        var client = await ClientAsync("client_secret_basic client_secret_post");
        Assert.That(await WarningsOfAsync(Call("add_key", Arguments(client, "a"))), Is.EqualTo([
            $"WARNING: Client \"{client}\" may not authenticate with a key yet. Allow it with scripts/update-client.sql: "
            + "-v methods='client_secret_basic client_secret_post private_key_jwt', or private_key_jwt alone once nothing uses its secrets.",
        ]));
        await Database.ExecuteAsync($"select token_service.update_client('{client}', p_methods => array['private_key_jwt'])");
        Assert.That(await WarningsOfAsync(Call("add_key", Arguments(client, "b"))), Is.Empty);
        Assert.That(
            await WarningsOfAsync($"select token_service.add_secret('{client}', 'NoUseOfThis1', {Digest})"),
            Is.EqualTo([
                $"WARNING: Client \"{client}\" may not authenticate with a secret. Allow it with scripts/update-client.sql: "
                + "-v methods='client_secret_basic private_key_jwt'.",
            ]));
    }

    [TestCase("{\"a\": 1}", "{\"a\": 1}")]
    [TestCase(" {\n} ", "{}")]
    [TestCase("", null)]
    [TestCase("{\"x\": \"" + Plaintext, null)]
    [TestCase("{\"x\": \"\\u0000\"}", null)]
    public async Task Text_that_is_not_JSON_is_refused_and_not_shown(string text, string? expected)
    {
        var call = $"select token_service.read_jwk('{text}')";
        if (expected is null)
            await IsRefusedAsync(call, PostgresErrorCodes.CheckViolation, "The public_jwk is not JSON.", OneJwkOfText);
        else
            Assert.That(await RowsAsync(call), Is.EqualTo([expected]));
    }

    [TestCase("{\"d\": \"" + Plaintext)]
    [TestCase("{\"d\": \"\\u0000\"}")]
    [TestCase("-----BEGIN PRIVATE KEY----- " + Plaintext)]
    public async Task Text_with_a_private_key_that_is_not_JSON_is_refused_as_leaked(string text) => await IsRefusedAsync(
        $"select token_service.read_jwk('{text}')", PostgresErrorCodes.CheckViolation, "The public_jwk is not JSON.",
        "It looks like a private key, which is leaked now. Make a new key with \"TokenService client-key new\", and pass its "
        + "public half only.");

    [Test]
    public async Task A_private_key_in_another_place_is_not_repeated_and_not_kept()
    {
        var client = await ClientAsync();
        const string jwk = $$"""{"kty": "OKP", "d": "{{Plaintext}}"}""";

        await IsRefusedAsync(
            Call("add_key", new(Arguments(client, "b")) { ["p_label"] = $"'{jwk}'" }), PostgresErrorCodes.CheckViolation,
            "The label of the key is a private key, which is leaked now.",
            "Do not use it anywhere. Make a new key with \"TokenService client-key new\".");
        await IsRefusedAsync(
            Call("add_key", Arguments(jwk, "b")), PostgresErrorCodes.NoDataFound, "There is no client \"…\".",
            "scripts/list-clients.sql shows those there are, scripts/create-client.sql makes one.");
    }

    [Test]
    public async Task A_key_that_another_client_has_is_added_with_a_warning()
    {
        var (first, second) = (await ClientAsync(), await ClientAsync());
        var jwk = PublicJwk.NewP256();
        await Database.ExecuteAsync($"select token_service.add_key('{first}', '{jwk}')");

        Assert.That(
            await WarningsOfAsync($"select token_service.add_key('{second}', '{jwk}')"),
            Has.One.EqualTo(
                $"WARNING: Another client has the same key as client \"{second}\". The holder of its private half can authenticate as "
                + "both. Give each client a key of its own."));
    }

    private const string OneJwkOfText =
        "Pass the public half as a JWK, one JSON object, as \"TokenService client-key new\" prints it.";

    [Test]
    public async Task The_newest_key_is_the_one_added_last_and_not_revoked()
    {
        var client = await ClientAsync();
        await Database.ExecuteAsync(
            string.Concat(new List<string> { "zz", "AA", "MM" }.Select(kid => Call("add_key", Arguments(client, kid)) + ";")));
        foreach (var newest in new[] { "MM", "AA", "zz" })
        {
            Assert.That(await NewestAsync(), Is.EqualTo(newest));
            await Database.ExecuteAsync($"select token_service.revoke_key('{client}', '{newest}')");
        }

        Assert.That(await NewestAsync(), Is.Null);

        Task<string?> NewestAsync() => Database.ReadAsync<string>($"select token_service.newest_kid('{client}')");
    }

    [TestCaseSource(nameof(RefusedRotations))]
    public Task A_rotation_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(
            Call("rotate_key", new(ValidKey) { [argument] = value }), state,
            message.Replace("{p_alg}", value.Trim('\''), StringComparison.Ordinal), hint);

    [TestCaseSource(nameof(Rotations))]
    public async Task A_rotation_ends_the_old_keys(string overlap, string newBegins, string begins, string ends, string expected)
    {
        var client = await ClientAsync();
        await KeyAsync(client, "old", begins, ends);
        await Database.ExecuteAsync(
            Call("rotate_key", new(Arguments(client, "new")) { ["p_overlap"] = overlap, ["p_not_before"] = newBegins }));

        Assert.That(await LifeAsync(client, "old"), Is.EqualTo(expected));
        Assert.That(await LifeAsync(client, "new"), Is.Empty);
    }

    [Test]
    public async Task A_rotation_ends_the_other_live_keys_and_returns_when_and_leaves_secrets_alone()
    {
        var client = await ClientAsync();
        await Database.ExecuteAsync($"select token_service.add_secret('{client}', 'RotationKept', {Digest})");
        foreach (var kid in new[] { "a", "b", "c" })
            await KeyAsync(client, kid);
        await Database.SetInstantAsync("'2039-06-01Z'");
        await Database.ExecuteAsync($"select token_service.revoke_key('{client}', 'b')");
        await Database.SetInstantAsync(Now);
        var other = await ClientAsync();
        await KeyAsync(other, "a");

        var rotation = Call("rotate_key", new(Arguments(client, "new")) { ["p_label"] = "'next'", ["p_expires_at"] = "'2041-01-01Z'" });
        Assert.That(
            await RowsAsync($"select to_char(({rotation}) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')"),
            Is.EqualTo(["2040-02-01 00:00"]), "24 hours by default");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(await LifeAsync(client, "a"), Is.EqualTo("ends 2040-02-01 00:00"));
            Assert.That(await LifeAsync(client, "b"), Is.EqualTo("revoked 2039-06-01 00:00"));
            Assert.That(await LifeAsync(client, "c"), Is.EqualTo("ends 2040-02-01 00:00"));
            Assert.That(await LifeAsync(client, "new"), Is.EqualTo("ends 2041-01-01 00:00"));
            Assert.That(await LifeAsync(other, "a"), Is.Empty, "the key of another client is left alone");
            Assert.That(
                await RowsAsync("select expires_at, revoked_at from token_service.client_secret where id = 'RotationKept'"),
                Is.EqualTo(["- | -"]));
            Assert.That(
                await RowsAsync($"select label from token_service.client_key where client_id = '{client}' and kid = 'new'"),
                Is.EqualTo(["next"]));
        }
    }

    [Test]
    public async Task The_second_of_two_rotations_at_the_same_time_is_refused()
    {
        var client = await ClientAsync();
        await KeyAsync(client, "old");
        await using var first = await Database.Source.OpenConnectionAsync();
        await using var transaction = await first.BeginTransactionAsync();
        await using var rotation = new NpgsqlCommand(Rotation("once"), first);
        await rotation.ExecuteNonQueryAsync();

        var second = Database.ExecuteAsync(Rotation("twice"));
        await Soon.IsAsync("the second waits for the first", () => Database.ReadAsync<bool>(
            "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"));
        await transaction.CommitAsync();

        await IsRefusedAsync(
            () => second,
            PostgresErrorCodes.SerializationFailure, $"Somebody else has just changed the keys of client \"{client}\".",
            "Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end their new key too.");
        Assert.That(await LifeAsync(client, "once"), Is.Empty);

        string Rotation(string kid) => Call("rotate_key", new(Arguments(client, kid)) { ["p_newest_kid"] = "'old'" });
    }

    [TestCaseSource(nameof(RefusedClientIds))]
    public async Task An_unknown_client_is_refused(string argument, string value, string state, string message, string hint)
    {
        await IsRefusedAsync(Call("revoke_key", new() { [argument] = value, ["p_kid"] = "'taken'" }), state, message, hint);
        await IsRefusedAsync(
            Call("allow_token_endpoint_audience", new() { [argument] = value, ["p_until"] = "null" }), state, message, hint);
        if (value != "null")
        {
            await IsRefusedAsync(
                Call("require_sender_constraint", new() { [argument] = value, ["p_resource"] = "null", ["p_constraint"] = "'dpop'" }),
                state, message, hint);
        }
    }

    [TestCase("null")]
    [TestCase("'nothing'")]
    [TestCase($"'{Plaintext}'")]
    [TestCase("'taken'", Description = "another client's")]
    public async Task A_key_that_the_client_does_not_have_is_not_revoked(string kid)
    {
        var client = await ClientAsync();
        await IsRefusedAsync(
            $"select token_service.revoke_key('{client}', {kid})",
            PostgresErrorCodes.NoDataFound, $"Client \"{client}\" has no such key.",
            "scripts/show-client.sql shows the kids of its keys.");
    }

    [Test]
    public async Task A_key_is_revoked_once_and_without_a_warning_if_it_is_not_used_and_another_is_alive()
    {
        var client = await ClientAsync();
        await KeyAsync(client, "a");
        await KeyAsync(client, "b");
        var revoke = $"select token_service.revoke_key('{client}', 'a')";
        Assert.That(await WarningsOfAsync(revoke), Is.Empty);
        Assert.That(await LifeAsync(client, "a"), Is.EqualTo("revoked 2040-01-31 00:00"));
        Assert.That(await LifeAsync(client, "b"), Is.Empty);

        await Database.SetInstantAsync($"{Now} + interval '1 day'");
        await ChangesNothingAsync(revoke);
        Assert.That(await WarningsOfAsync(revoke), Is.Empty);
    }

    [TestCase("6 days 23 hours", "'192.0.2.7'", "192.0.2.7")]
    [TestCase("1 second", "null", "unknown")]
    [TestCase("7 days", "'192.0.2.7'", null)]
    public async Task Revoking_a_key_in_use_warns(string ago, string from, string? shown)
    {
        var client = await ClientAsync();
        await KeyAsync(client, "a");
        await KeyAsync(client, "b");
        await Database.ExecuteAsync(
            $"""
            insert into token_service.credential_use
            values ('key', '{client} a', '{client}', {Now} - interval '{ago}', {Now} - interval '{ago}', {from}, 1)
            """);
        var warnings = await WarningsOfAsync($"set timezone = 'UTC'; select token_service.revoke_key('{client}', 'a')");
        var at = await Database.ReadAsync<string>(
            $"select to_char(({Now} - interval '{ago}') at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')");
        Assert.That(warnings, Is.EqualTo<string[]>(shown is null
            ? []
            : [$"WARNING: The key was still used, last at {at}+00 from {shown}. The client needs another key there now."]));
    }

    // The dates of the client's other key, and whether the revoked one is therefore its last.
    [TestCase("2040-01-31 00:00", "null", false)]
    [TestCase("2040-01-31 00:01", "null", true, Description = "not yet alive")]
    [TestCase("2039-01-01 00:00", "'2040-01-31 00:00Z'", true, Description = "just expired")]
    public async Task Revoking_the_last_live_key_warns(string begins, string ends, bool isLast)
    {
        var client = await ClientAsync();
        await KeyAsync(client, "a");
        await KeyAsync(client, "b", begins, ends);
        Assert.That(
            await WarningsOfAsync($"select token_service.revoke_key('{client}', 'a')"),
            Is.EqualTo<string[]>(isLast
                ? [
                    $"WARNING: Client \"{client}\" has no live key left. Unless it has a secret it can get no token. "
                    + "Give it a key with scripts/add-key.sql, or disable it with scripts/disable-client.sql.",
                ]
                : []));
    }

    // The client moves from a secret to a key.
    [TestCase("client_secret_basic private_key_jwt", false)]
    [TestCase("client_secret_basic", true)]
    public async Task Revoking_the_last_secret_of_a_client_warns_unless_it_has_a_key_that_it_may_use(string methods, bool warns)
    {
        var client = await ClientAsync(methods);
        await KeyAsync(client, "a");
        await Database.ExecuteAsync($"select token_service.add_secret('{client}', rpad('{client}', 12, 'A'), {Digest})");
        Assert.That(
            await WarningsOfAsync($"select token_service.revoke_secret('{client}', rpad('{client}', 12, 'A'))"),
            Has.Length.EqualTo(warns ? 1 : 0));
    }

    [Test]
    public async Task The_uses_of_a_key_are_counted_and_forgotten_with_it()
    {
        var client = await ClientAsync();
        await KeyAsync(client, "a");
        await KeyAsync(client, "b");
        await Database.ExecuteAsync(
            $$"""
            select token_service.add_credential_use(
                '{key,key,key,secret}', array['{{client}} a', '{{client}} b', '{{client}} gone', '{{client}} a'], '{3,1,1,1}',
                array[now(), now(), now(), now()], array[now(), now(), now(), now()],
                '{192.0.2.7,192.0.2.7,192.0.2.7,192.0.2.7}')
            """);
        Assert.That(await UsesAsync(), Is.EqualTo([$"key | {client} a | 3", $"key | {client} b | 1"]));
        await Database.ExecuteAsync($"delete from token_service.client_key where client_id = '{client}' and kid = 'a'");
        Assert.That(await UsesAsync(), Is.EqualTo([$"key | {client} b | 1"]));

        Task<string[]> UsesAsync() => RowsAsync(
            $"select kind, credential_id, use_count from token_service.credential_use where client_id = '{client}' order by 2");
    }

    [TestCase("'billing'", "'https://api.example.com'")]
    [TestCase("null", "null")]
    public Task A_sender_constraint_for_both_or_neither_is_refused(string client, string resource) => IsRefusedAsync(
        $"select token_service.require_sender_constraint({client}, {resource}, 'dpop')",
        PostgresErrorCodes.CheckViolation, "A client and a resource were passed, or neither.",
        "Pass client_id for all tokens of a client, or resource for all tokens of an API.");

    [TestCase("null")]
    [TestCase("''")]
    [TestCase("'mtls'")]
    [TestCase("'DPoP'")]
    public Task An_unknown_sender_constraint_is_refused(string constraint) => IsRefusedAsync(
        $"select token_service.require_sender_constraint('billing', null, {constraint})",
        PostgresErrorCodes.CheckViolation, "The sender constraint is not one that this server has.", "Say dpop, or none to remove it.");

    [Test]
    public Task A_sender_constraint_of_an_unknown_resource_is_refused() => IsRefusedAsync(
        "select token_service.require_sender_constraint(null, 'https://api.example.com/', 'dpop')",
        PostgresErrorCodes.NoDataFound, "There is no resource \"https://api.example.com/\".",
        "Check its spelling to the last slash, or make it with scripts/create-resource.sql.");

    [Test]
    public async Task A_sender_constraint_is_set_and_removed_for_a_client_or_a_resource()
    {
        const string Constraints =
            """
            select (select sender_constraint from token_service.client where id = 'billing'),
                   (select sender_constraint from token_service.resource where id = 'https://api.example.com')
            """;
        foreach (var (client, resource, constraint, expected) in new[]
        {
            ("'billing'", "null", "dpop", "dpop | -"), ("null", "'https://api.example.com'", "dpop", "dpop | dpop"),
            ("'billing'", "null", "none", "- | dpop"), ("null", "'https://api.example.com'", "none", "- | -"),
        })
        {
            var call = $"select token_service.require_sender_constraint({client}, {resource}, '{constraint}')";
            await Database.ExecuteAsync(call);
            Assert.That(await RowsAsync(Constraints), Is.EqualTo([expected]));
            await ChangesNothingAsync(call);
        }
    }

    [TestCase("'2040-01-31Z'", "The date is not in the future.", "Say none to end the permission now.")]
    [TestCase("'-infinity'", "The date is not in the future.", "Say none to end the permission now.")]
    [TestCase("'2040-07-29 00:00:01Z'", "The date is more than 180 days ahead.",
        "Choose the day by which the client will send the issuer as aud. You may move it later.")]
    [TestCase("'infinity'", "The date is more than 180 days ahead.",
        "Choose the day by which the client will send the issuer as aud. You may move it later.")]
    public Task The_audience_switch_is_refused_without_a_date_within_180_days(string until, string message, string hint) =>
        IsRefusedAsync(
            $"select token_service.allow_token_endpoint_audience('billing', {until})", PostgresErrorCodes.CheckViolation, message, hint);

    [Test]
    public async Task The_audience_switch_is_set_and_ended()
    {
        foreach (var (until, expected) in new[] { ("'2040-07-29Z'", "2040-07-29"), ("'2040-02-01Z'", "2040-02-01"), ("null", "-") })
        {
            var call = $"select token_service.allow_token_endpoint_audience('billing', {until})";
            await Database.ExecuteAsync(call);
            Assert.That(
                await RowsAsync(
                    """
                    select to_char(token_endpoint_audience_until at time zone 'UTC', 'YYYY-MM-DD')
                    from token_service.client where id = 'billing'
                    """),
                Is.EqualTo([expected]));
            await ChangesNothingAsync(call);
        }
    }

    // Makes a client that only this test uses.
    private async Task<string> ClientAsync(string methods = "private_key_jwt")
    {
        var client = $"client{++clients:000}";
        await Database.ExecuteAsync(
            $"""
            select token_service.create_client(
                '{client}', 'x', 'https://api.example.com', array['parcels:read'], p_methods => string_to_array('{methods}', ' '))
            """);
        return client;
    }

    private Task AddAsync(string client, string kid) => Database.ExecuteAsync(Call("add_key", Arguments(client, kid)));

    // Makes a key whose date of creation is the date on which it begins.
    private Task KeyAsync(string client, string kid, string begins = "2019-01-01", string ends = "null") => Database.ExecuteAsync(
        $"""
        insert into token_service.client_key (client_id, kid, alg, public_jwk, not_before, expires_at, created_at)
        values ('{client}', '{kid}', 'ES256', '{PublicJwk.NewP256()}', '{begins}Z', {ends}, '{begins}Z')
        """);

    private Task<string?> LifeAsync(string client, string kid) => Database.ReadAsync<string>(
        $"""
        select concat_ws(', ', 'ends ' || to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'),
                               'revoked ' || to_char(revoked_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'))
        from token_service.client_key where client_id = '{client}' and kid = '{kid}'
        """);

    private static Dictionary<string, string> Arguments(string client, string kid) => new()
    {
        ["p_client_id"] = $"'{client}'",
        ["p_public_jwk"] = $"'{PublicJwk.NewP256()}'",
        ["p_kid"] = $"'{kid}'",
    };
}
