using System.Text.RegularExpressions;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>
/// A script that refuses its input prints a message and a hint, exits with code 3, and changes nothing.
/// </summary>
[TestFixture]
public sealed partial class ScriptRefusals
{
    private const string DateOutOfRange = "A date is not between the years 1900 and 9000.";

    private const string CheckTheYear = "Check the year, or leave the date out.";

    private const string Pasted = "a plaintext secret, pasted by mistake";
    private const string Digest =
        "digest=$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JVe9Zxzthx1TW+yJ0WQsnjyV8bZaqyPptE";
    private const string SecretId = "secret_id=BBBBBBBBBBBB";

    private const string HowToDigest =
        "Make one with \"TokenService secret new\", or digest a secret you already have with \"TokenService secret hash\". "
        + "Never store a secret itself: if one was pasted here, treat it as leaked.";

    private const string HowToPassAKey =
        "Pass the public half as a JWK, one JSON object, as \"TokenService client-key new\" prints it.";

    private const string WhichClients = "scripts/list-clients.sql shows those there are, scripts/create-client.sql makes one.";
    private const string ScopeGrammar =
        "A scope is 1 to 128 printable ASCII characters without space, quotation mark and backslash (RFC 6749 §3.3).";

    private static readonly Dictionary<string, string> Required = new()
    {
        ["create-client.sql"] = "client_id name resource scopes",
        ["update-client.sql"] = "client_id",
        ["disable-client.sql"] = "client_id",
        ["enable-client.sql"] = "client_id",
        ["delete-client.sql"] = "client_id",
        ["show-client.sql"] = "client_id",
        ["rotate-secret.sql"] = "client_id",
        ["add-secret.sql"] = "client_id",
        ["revoke-secret.sql"] = "client_id secret_id",
        ["add-key.sql"] = "client_id public_jwk",
        ["rotate-key.sql"] = "client_id public_jwk",
        ["revoke-key.sql"] = "client_id kid",
        ["require-sender-constraint.sql"] = "constraint",
        ["allow-token-endpoint-audience.sql"] = "client_id until",
        ["grant-scope.sql"] = "client_id scope",
        ["revoke-scope.sql"] = "client_id scope",
        ["create-resource.sql"] = "resource",
        ["register-resource-server.sql"] = "client_id resource",
        ["unregister-resource-server.sql"] = "client_id resource",
        ["revoke-client-tokens.sql"] = "client_id",
        ["audit-verify.sql"] = "id hash", // neither or both
    };

    private Database database = null!;

    private static IEnumerable<TestCaseData> BadInput() =>
    [
        .. UnknownClient("update-client", "disable-client", "enable-client", "delete-client", "show-client", "credentials-report",
            "revoke-client-tokens"),
        .. UnknownClient("rotate-secret", "add-secret", Digest, SecretId),
        .. UnknownClient("revoke-secret", SecretId),
        .. UnknownClient("add-key", "rotate-key", $"public_jwk={PublicJwk.P256}"),
        .. UnknownClient("revoke-key", "kid=a"),
        .. UnknownClient("require-sender-constraint", "constraint=dpop"),
        .. UnknownClient("allow-token-endpoint-audience", "until=none"),
        .. UnknownClient("grant-scope", "revoke-scope", "scope=invoices:read"),
        .. UnknownClient("register-resource-server", "unregister-resource-server", "resource=https://api.example.com"),

        Case("rotate-secret", [$"digest={Pasted}", SecretId], "The digest of client \"billing\" is not an Argon2id digest.", HowToDigest),
        Case("add-secret", [$"digest={Pasted}", SecretId], "The digest of client \"billing\" is not an Argon2id digest.", HowToDigest),
        Case("rotate-secret", [SecretId], "The digest of client \"billing\" is not an Argon2id digest.", HowToDigest),
        Case("add-secret", [Digest], "The digest of client \"billing\" comes without its secret_id.",
            "Pass digest and secret_id together, as \"TokenService secret new\" or \"TokenService secret hash\" printed them."),
        Case("add-secret", [Digest, $"secret_id={Pasted}"], "The secret_id of client \"billing\" is not one that TokenService made.",
            "Pass the secret_id that was printed beside the digest."),
        Case("add-secret", [Digest, SecretId, "label="], "The label of the secret is empty or longer than 200 characters.",
            "Say in a few words where the secret is kept, or leave the label out."),
        Case("add-secret", [Digest, SecretId, "expires_at=2020-01-01 UTC"], "The secret would expire before it could be used.",
            "Choose an expires_at after now and after not_before, or leave it out."),
        Case("add-secret", [Digest, SecretId, "expires_at=infinity"], DateOutOfRange, CheckTheYear),
        Case("add-secret", [Digest, SecretId, "not_before=20000-01-01 UTC"], DateOutOfRange, CheckTheYear),
        Case("rotate-secret", [Digest, SecretId, "not_before=-infinity"], DateOutOfRange, CheckTheYear),
        Case("rotate-secret", [Digest, SecretId, "expires_at=20000-01-01 UTC"], DateOutOfRange, CheckTheYear),
        // The old secret would end a day later, in the year 9000.
        Case("rotate-secret", [Digest, SecretId, "not_before=8999-12-31 12:00 UTC"], DateOutOfRange, CheckTheYear),
        Case("rotate-secret", [Digest, SecretId, "overlap=-1 second"], "The overlap is missing or negative.",
            "Say for how long the old secrets still work, such as '24 hours'; '0' ends them at once."),
        Case("rotate-secret", [Digest, SecretId, "overlap=31 days"], "The overlap is longer than 30 days, the longest the policy allows.",
            "Choose a shorter one, or raise max_overlap with scripts/set-policy.sql."),
        Case("revoke-secret", [SecretId], "Client \"billing\" has no such secret.",
            "scripts/show-client.sql shows the ids of its secrets."),
        Case("add-key", [$"public_jwk={Pasted}"], "The public_jwk is not JSON.", HowToPassAKey),
        Case("rotate-key", ["public_jwk="], "The public_jwk is not JSON.", HowToPassAKey),
        Case("add-key", [$"public_jwk=-----BEGIN PRIVATE KEY-----\n{Pasted}"], "The public_jwk is not JSON.",
            "It looks like a private key, which is leaked now. Make a new key with \"TokenService client-key new\", and pass its public "
            + "half only."),
        Case("add-key", [$$"""public_jwk={{PublicJwk.P256.With($"\"d\": \"{Pasted}\"")}}"""],
            "The JWK for client \"billing\" has a private member, so this key is leaked now.",
            "Do not use it anywhere. Make a new key with \"TokenService client-key new\", and pass its public half only."),
        Case("rotate-key", [$"public_jwk={PublicJwk.P256}", "overlap=31 days"],
            "The overlap is longer than 30 days, the longest the policy allows.",
            "Choose a shorter one, or raise max_overlap with scripts/set-policy.sql."),
        Case("rotate-key", [$"public_jwk={PublicJwk.P256}", "newest_kid=gone"],
            "Somebody else has just changed the keys of client \"billing\".",
            "Look with scripts/show-client.sql. Rotate again only if that is still what you want: it would end their new key too."),
        Case("revoke-key", ["kid=gone"], "Client \"billing\" has no such key.", "scripts/show-client.sql shows the kids of its keys."),
        Case("require-sender-constraint", ["constraint=mtls"], "The sender constraint is not one that this server has.",
            "Say dpop, or none to remove it."),
        Case("require-sender-constraint", ["constraint=dpop", "resource=https://api.example.com"],
            "A client and a resource were passed, or neither.",
            "Pass client_id for all tokens of a client, or resource for all tokens of an API."),
        Case("allow-token-endpoint-audience", ["until=2020-01-01 UTC"], "The date is not in the future.",
            "Say none to end the permission now."),
        Case("allow-token-endpoint-audience", ["until=2999-01-01 UTC"], "The date is more than 180 days ahead.",
            "Choose the day by which the client will send the issuer as aud. You may move it later."),
        Case("retire-unused-secrets", ["idle=1 minute"], "The idle time is not 2 minutes to 3650 days.",
            "Usage is written every 30 seconds: a shorter time would miss some. Say something like '30 days'."),

        Case("update-client", ["name="], "The name of client \"billing\" is empty or longer than 200 characters.",
            "Say in a few words what the client is."),
        Case("update-client", ["methods=none"], "The authentication methods of client \"billing\" are not ones this server offers.",
            "Use client_secret_basic, client_secret_post, private_key_jwt, or several of them."),
        Case("update-client", ["token_lifetime=1 second"],
            "The token lifetime of client \"billing\" is not 1 minute to 1 day in whole seconds.",
            "Say something like '10 minutes'; '0' is the server's default."),
        Case("update-client", ["tokens_per_minute=1000001"], "The tokens per minute of client \"billing\" are not 1 to 1000000.",
            "Each replica counts for itself; 0 means no limit."),
        Case("update-client", ["extra_claims=[]"], "The extra claims of client \"billing\" are not a JSON object of at most 1024 bytes.",
            "Say something like '{\"tenant\": \"north\"}'; '{}' removes them."),
        Case("update-client", ["extra_claims={\"a\": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}"],
            "The extra claims of client \"billing\" are nested more than 16 levels deep.",
            "Put fewer objects and lists inside one another: some readers of tokens give up at this depth."),
        Case("update-client", ["extra_claims={\"sub\": \"root\"}"], "The extra claims of client \"billing\" include a reserved one: sub.",
            "The server sets it, or APIs read from it who a person is. Choose another name, such as a URI of your own."),
        Case("delete-client", [], "Client \"billing\" is enabled.",
            "Disable it with scripts/disable-client.sql, and delete it when nobody has missed it."),

        Case("grant-scope", ["scope=refunds:read"], "There is no scope \"refunds:read\".",
            "Check its spelling, or make it with scripts/create-resource.sql: a scope belongs to a resource."),
        Case("revoke-scope", ["scope=refunds:read"], "There is no scope \"refunds:read\".",
            "Check its spelling, or make it with scripts/create-resource.sql: a scope belongs to a resource."),
        Case("grant-scope", ["scope=invoices read"], "A scope is outside the grammar.", ScopeGrammar),
        Case("create-resource", ["resource=https://refunds.example.com", "scopes=refunds:read \"quoted\""],
            "A scope is outside the grammar.", ScopeGrammar),
        Case("grant-scope", ["scope=invoices:read", "resource=https://nowhere.example.com"],
            "There is no resource \"https://nowhere.example.com\".",
            "Check its spelling to the last slash, or make it with scripts/create-resource.sql."),
        Case("revoke-scope", ["scope=refunds:read", "resource=https://api.example.com"],
            "Resource \"https://api.example.com\" has no scope \"refunds:read\".",
            "Check its spelling, or make it with scripts/create-resource.sql."),
        Case("create-resource", ["resource=two words"], "The resource is neither an absolute URI without a fragment nor a plain name.",
            "Use the identifier of the API, such as https://api.example.com, or the name it already expects as aud."),
        Case("create-resource", ["resource=billing"], "There is already a client \"billing\".",
            "The aud of tokens for a resource is its id, and the aud of answers to introspection is the client_id. "
            + "Choose another name, or a URI, so that no API takes the one for the other."),
        Case("create-resource", ["resource=https://api.example.com", "typ=jwt"],
            "The typ is not one that this server gives to tokens.", "Use at+jwt, or JWT for an API that refuses at+jwt."),
        Case("create-resource", ["resource=https://api.example.com", "signing_alg=none"],
            "The signing algorithm is not one this server has.", "Use ES256, ES384, RS256 or PS256; \"default\" is the server's."),
        Case("create-resource", ["resource=https://api.example.com", "max_token_lifetime=1 second"],
            "The maximum token lifetime is not 1 minute to 1 day in whole seconds.", "Say something like '5 minutes'; '0' is no maximum."),
        Case("register-resource-server", ["resource=https://api.example.com/"], "There is no resource \"https://api.example.com/\".",
            "Check its spelling to the last slash, or make it with scripts/create-resource.sql."),
        Case("unregister-resource-server", ["resource=orders"], "There is no resource \"orders\".",
            "Check its spelling to the last slash, or make it with scripts/create-resource.sql."),

        Case("set-policy", ["max_secret_age=1 hour"], "The maximum secret age is not 1 to 3650 days.",
            "Say something like '90 days'; '0' is no maximum."),
        Case("set-policy", ["max_secret_age=2 days"], "With that maximum age live secrets would end now or within 7 days: 1.",
            "Rotate the oldest first: scripts/credentials-report.sql shows when each was made. Pass -v at_once=on to end them all the same."),
        Case("set-policy", ["max_overlap=366 days"], "The maximum overlap is not 0 to 365 days.", "Say something like '30 days'."),
        Case("set-policy", ["min_digest_cost=1"], "The minimum digest cost is not 8192 to 655360.",
            "It is m (KiB) times t, as in Hashing:MemoryKiB and Hashing:Iterations: 38912 for 19456 and 2."),
        Case("access-report", ["idle=0"], "The idle time is not 2 minutes to 3650 days.",
            "Usage is written every 30 seconds: a shorter time would miss some. Say something like '30 days'."),
    ];

    // PostgreSQL itself refuses a value that is not of the type, and shows where it stands.
    private static IEnumerable<TestCaseData> WrongTypes() =>
    [
        Wrong("rotate-secret", [Digest, SecretId, "overlap=a while"], "interval: \"a while\""),
        Wrong("rotate-secret", [Digest, SecretId, "overlap="], "interval: \"\""),
        Wrong("add-secret", [Digest, SecretId, "expires_at="], "timestamp with time zone: \"\""),
        Wrong("add-secret", [Digest, SecretId, "not_before=someday"], "timestamp with time zone: \"someday\""),
        Wrong("update-client", ["token_lifetime=a while"], "interval: \"a while\""),
        Wrong("update-client", ["tokens_per_minute=many"], "integer: \"many\""),
        Wrong("update-client", ["extra_claims=tenant"], "json"),
        Wrong("create-resource", ["resource=https://api.example.com", "max_token_lifetime="], "interval: \"\""),
        Wrong("grant-scope", ["scope=invoices:write", "default=maybe"], "boolean: \"maybe\""),
        Wrong("retire-unused-secrets", ["dry_run=maybe"], "boolean: \"maybe\""),
        Wrong("retire-unused-secrets", ["dry_run="], "boolean: \"\""),
        Wrong("rotate-key", [$"public_jwk={PublicJwk.P256}", "overlap=a while"], "interval: \"a while\""),
        Wrong("allow-token-endpoint-audience", ["until=someday"], "timestamp with time zone: \"someday\""),
        Wrong("credentials-report", ["fapi=maybe"], "boolean: \"maybe\""),
        Wrong("credentials-report", ["all=maybe"], "boolean: \"maybe\""),
        Wrong("set-policy", ["max_secret_age=2 days", "at_once=maybe"], "boolean: \"maybe\""),
        Wrong("audit-log", ["max_rows=many"], "integer: \"many\""),
        Wrong("audit-verify", ["id=first", "hash=x"], "bigint: \"first\""),
    ];

    // With the example at the top of the script, of which one variable is left out.
    private static IEnumerable<TestCaseData> Missing() =>
        from script in Scripts()
        from variable in Required.GetValueOrDefault(script, "").Split(' ', StringSplitOptions.RemoveEmptyEntries)
        select new TestCaseData(script, variable, Examples(File.ReadAllText(Repository.PathTo("scripts", script)))[^1]);

    private static IEnumerable<string> Scripts() =>
        Directory.EnumerateFiles(Repository.PathTo("scripts"), "*.sql")
            .Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal);

    [OneTimeSetUp]
    public async Task Clone()
    {
        database = await Database.CreateAsync();
        await database.CreateClientAsync("billing");
    }

    [OneTimeTearDown]
    public async Task Drop() => await (database?.DisposeAsync() ?? ValueTask.CompletedTask);

    [TestCaseSource(nameof(BadInput))]
    public async Task Bad_input_is_refused_with_a_hint(string script, string[] variables, string message, string hint) =>
        await ChangesNothingAsync(async () =>
        {
            var psql = await Psql.ScriptAsync(database, script + ".sql", variables);
            psql.IsRefused(message, hint);
            Assert.That(psql.Error, Does.Not.Contain(Pasted));
        });

    [TestCaseSource(nameof(WrongTypes))]
    public async Task A_value_of_the_wrong_type_is_refused(string script, string[] variables, string complaint) =>
        await ChangesNothingAsync(async () =>
        {
            var psql = await Psql.ScriptAsync(database, script + ".sql", variables);
            using (Assert.EnterMultipleScope())
            {
                Assert.That(psql.ExitCode, Is.EqualTo(Psql.ScriptFailed));
                Assert.That(psql.Error, Does.Contain("ERROR:  invalid input syntax for type " + complaint));
                Assert.That(psql.Output, Is.Empty);
            }
        });

    [TestCaseSource(nameof(Missing))]
    public async Task A_missing_variable_is_named_and_the_example_shown(string script, string variable, string example) =>
        await ChangesNothingAsync(async () =>
        {
            var without = Regex.Replace(example, $@" -v {variable}=('[^']*'|""[^""]*""|\S+)", "");
            Assert.That(without, Is.Not.EqualTo(example), "The example passes the variable.");
            without = without.Replace("$(cat key.pub.jwk)", "{}", StringComparison.Ordinal); // there is no such file
            (await Psql.ShellAsync(database, without)).IsRefused($"The variable {variable} is missing.", $"Pass it as in: {example}");
            Assert.That(example, Does.EndWith($" -f scripts/{script}"));
        });

    [TestCaseSource(nameof(Scripts))]
    public async Task A_script_without_variables_works_or_names_the_missing_one(string script)
    {
        var psql = await Psql.ScriptAsync(database, script, []);
        if (psql.ExitCode != 0)
            Assert.That(psql.Error, Does.Contain("ERROR:  The variable ").Or.Contain("ERROR:  There is no signing key of that "));
    }

    private static string[] Examples(string script) =>
        [.. Example().Matches(script.Replace("\\\n--        ", "", StringComparison.Ordinal)).Select(match => match.Groups[1].Value)];

    private static IEnumerable<TestCaseData> UnknownClient(params string[] scriptsAndVariables) =>
        from script in scriptsAndVariables.Where(text => !text.Contains('=', StringComparison.Ordinal))
        select new TestCaseData(
            script, scriptsAndVariables.Where(text => text.Contains('=', StringComparison.Ordinal)).Prepend("client_id=nobody").ToArray(),
            "There is no client \"nobody\".", WhichClients);

    private static TestCaseData Case(string script, string[] variables, string message, string hint) =>
        new(script, variables.Prepend("client_id=billing").ToArray(), message, hint);

    private static TestCaseData Wrong(string script, string[] variables, string complaint) =>
        new(script, variables.Prepend("client_id=billing").ToArray(), complaint);

    // The audit log records every change, so it shows whether anything has changed.
    private async Task ChangesNothingAsync(Func<Task> run)
    {
        var before = await database.ReadAsync<string>("select string_agg(hash::text, '' order by id) from token_service.audit_log");
        await run();
        Assert.That(
            await database.ReadAsync<string>("select string_agg(hash::text, '' order by id) from token_service.audit_log"),
            Is.EqualTo(before), "the script changed nothing");
    }

    [GeneratedRegex(@"^--   (psql .*)$", RegexOptions.Multiline)]
    private static partial Regex Example();
}
