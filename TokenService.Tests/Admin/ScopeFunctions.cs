using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>Resources and their scopes as the functions make them, and give and take them.</summary>
[TestFixture]
public sealed class ScopeFunctions : AdminFixture
{
    private static readonly Dictionary<string, string> ValidResource = new()
    {
        ["p_resource"] = "'https://other.example.com'",
        ["p_scopes"] = "array['stock:read']",
    };

    private static IEnumerable<TestCaseData> RefusedResources() =>
    [
        .. Refused("p_resource", ["null", .. NotResources],
            PostgresErrorCodes.CheckViolation, "The resource is neither an absolute URI without a fragment nor a plain name.",
            "Use the identifier of the API, such as https://api.example.com, or the name it already expects as aud."),
        .. Refused("p_resource", ["'billing'"],
            PostgresErrorCodes.UniqueViolation, "There is already a client \"billing\".",
            "The aud of tokens for a resource is its id, and the aud of answers to introspection is the client_id. "
            + "Choose another name, or a URI, so that no API takes the one for the other."),
        .. Refused("p_scopes", ["array['stock:read', null]", .. NotScopes.Select(name => $"array['stock:read', {name}]")],
            PostgresErrorCodes.CheckViolation, "A scope is outside the grammar.", ScopeGrammar),
        .. Refused("p_signing_alg", ["'none'", "'HS256'", "'es256'", "''"],
            PostgresErrorCodes.CheckViolation, "The signing algorithm is not one this server has.",
            "Use ES256, ES384, RS256 or PS256; \"default\" is the server's."),
        .. Refused("p_typ", ["'jwt'", "'AT+JWT'", "'application/at+jwt'", "'token-introspection+jwt'", "''"],
            PostgresErrorCodes.CheckViolation, "The typ is not one that this server gives to tokens.",
            "Use at+jwt, or JWT for an API that refuses at+jwt."),
        .. Refused("p_max_token_lifetime",
            ["'59 seconds'", "'1 day 1 second'", "'60.5 seconds'", "'-10 minutes'", "'0.5 seconds'", "'1 month'"],
            PostgresErrorCodes.CheckViolation, "The maximum token lifetime is not 1 minute to 1 day in whole seconds.",
            "Say something like '5 minutes'; '0' is no maximum."),
    ];

    private static IEnumerable<TestCaseData> RefusedGrants() =>
    [
        .. RefusedClientIds(),
        .. Refused("p_scope", ["null", .. NotScopes],
            PostgresErrorCodes.CheckViolation, "A scope is outside the grammar.", ScopeGrammar),
        .. Refused("p_scope", ["'parcels:delete'"],
            PostgresErrorCodes.NoDataFound, "There is no scope \"parcels:delete\".",
            "Check its spelling, or make it with scripts/create-resource.sql: a scope belongs to a resource."),
        .. Refused("p_scope", ["'tsvc_BBBBBBBBBBBB_secret'"],
            PostgresErrorCodes.NoDataFound, "There is no scope \"tsvc_…\".",
            "Check its spelling, or make it with scripts/create-resource.sql: a scope belongs to a resource."),
    ];

    [TestCaseSource(nameof(RefusedResources))]
    public Task A_resource_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("create_resource", new(ValidResource) { [argument] = value }), state, message, hint);

    [Test]
    public async Task A_resource_is_made_once_and_changed_by_later_calls()
    {
        await CreateAsync("'https://made.example.com'", "https://made.example.com | - | - | at+jwt | -");
        await CreateAsync("'https://made.example.com', null", "https://made.example.com | - | - | at+jwt | -");
        await CreateAsync("'https://made.example.com', array['made:b', 'made:a', 'made:a'], 'RS256'",
            "https://made.example.com | RS256 | - | at+jwt | made:a made:b");
        await CreateAsync(
            "'https://made.example.com', array['made:c']", "https://made.example.com | RS256 | - | at+jwt | made:a made:b made:c");
        await CreateAsync("'https://made.example.com', p_signing_alg => 'ES384'",
            "https://made.example.com | ES384 | - | at+jwt | made:a made:b made:c");
        await CreateAsync(
            "'https://made.example.com', p_max_token_lifetime => '1 minute'",
            "https://made.example.com | ES384 | 60 | at+jwt | made:a made:b made:c");
        await CreateAsync("'https://made.example.com', p_signing_alg => 'default'",
            "https://made.example.com | - | 60 | at+jwt | made:a made:b made:c");
        await CreateAsync(
            "'https://made.example.com', '{}', null, '1 day'", "https://made.example.com | - | 86400 | at+jwt | made:a made:b made:c");
        await CreateAsync(
            "'https://made.example.com', p_max_token_lifetime => '0'", "https://made.example.com | - | - | at+jwt | made:a made:b made:c");
        await CreateAsync("'https://made.example.com', p_typ => 'JWT'", "https://made.example.com | - | - | JWT | made:a made:b made:c");
        await CreateAsync("'https://made.example.com'", "https://made.example.com | - | - | JWT | made:a made:b made:c");
        await CreateAsync(
            "'https://made.example.com', p_typ => 'at+jwt'", "https://made.example.com | - | - | at+jwt | made:a made:b made:c");

        async Task CreateAsync(string arguments, string expected)
        {
            Assert.That(
                await RowsAsync($"select token_service.create_resource({arguments})"), Is.EqualTo(["https://made.example.com"]));
            Assert.That(
                await RowsAsync(
                    """
                    select r.id, r.signing_alg, r.max_token_lifetime_seconds, r.typ, string_agg(s.name, ' ' order by s.name)
                    from token_service.resource r left join token_service.scope s on s.resource = r.id
                    where r.id = 'https://made.example.com'
                    group by r.id
                    """),
                Is.EqualTo([expected]));
            await ChangesNothingAsync($"select token_service.create_resource({arguments})");
        }
    }

    // RFC 3986 §2: these ids contain every character that a URI may have. A colon may only follow a scheme.
    [TestCase("api")]
    [TestCase("ledger-v1.2_~")]
    [TestCase("/orders")]
    [TestCase("!$%&()*+,-./;=?@[]")]
    [TestCase("a-b.c+d:!$%&()*+,-./:;=?@[]_~")]
    public async Task A_plain_name_or_a_URI_identifies_a_resource(string id)
    {
        await Database.ExecuteAsync("select token_service.create_resource(@id)", new { id });
        Assert.That(await Database.ReadAsync<int>("select count(*) from token_service.resource where id = @id", new { id }), Is.EqualTo(1));
    }

    [Test]
    public async Task A_scope_needs_its_resource_only_when_several_resources_have_its_name()
    {
        await Database.ExecuteAsync(
            """
            select token_service.create_resource('https://one.example.com', array['shared', 'only:one']);
            select token_service.create_resource('https://two.example.com', array['shared']);
            select token_service.create_client('sharing', 'x');
            """);
        foreach (var function in new[] { "grant_scope", "revoke_scope" })
        {
            await IsRefusedAsync(
                $"select token_service.{function}('sharing', 'shared')",
                PostgresErrorCodes.CardinalityViolation,
                "Several resources have a scope \"shared\": https://one.example.com, https://two.example.com.",
                "Say which one is meant, with -v resource=….");
            await IsRefusedAsync(
                $"select token_service.{function}('sharing', 'only:one', p_resource => 'https://two.example.com')",
                PostgresErrorCodes.NoDataFound, "Resource \"https://two.example.com\" has no scope \"only:one\".",
                "Check its spelling, or make it with scripts/create-resource.sql.");
            await IsRefusedAsync(
                $"select token_service.{function}('sharing', 'shared', p_resource => 'https://nowhere.example.com')",
                PostgresErrorCodes.NoDataFound, "There is no resource \"https://nowhere.example.com\".",
                "Check its spelling to the last slash, or make it with scripts/create-resource.sql.");
        }

        await BecomesAsync("grant_scope('sharing', 'only:one')", "https://one.example.com only:one");
        await BecomesAsync(
            "grant_scope('sharing', 'shared', true, 'https://two.example.com')",
            "https://one.example.com only:one", "https://two.example.com shared");
        // The client holds only one scope of that name, so the call needs no resource.
        await BecomesAsync("revoke_scope('sharing', 'shared')", "https://one.example.com only:one");
        await BecomesAsync(
            "grant_scope('sharing', 'shared', true, 'https://two.example.com'), "
            + "token_service.grant_scope('sharing', 'shared', p_resource => 'https://one.example.com')",
            "https://one.example.com only:one", "https://one.example.com shared", "https://two.example.com shared");
        await IsRefusedAsync(
            "select token_service.revoke_scope('sharing', 'shared')",
            PostgresErrorCodes.CardinalityViolation,
            "Several resources have a scope \"shared\": https://one.example.com, https://two.example.com.",
            "Say which one is meant, with -v resource=….");
        Assert.That(
            await RowsAsync("select scopes, default_scopes from token_service.clients_report('sharing')"),
            Is.EqualTo([
                "only:one shared (https://one.example.com) shared (https://two.example.com) | shared (https://two.example.com)",
            ]));
        await BecomesAsync(
            "revoke_scope('sharing', 'shared', 'https://one.example.com')",
            "https://one.example.com only:one", "https://two.example.com shared");

        async Task BecomesAsync(string call, params string[] expected)
        {
            await Database.ExecuteAsync($"select token_service.{call}");
            Assert.That(
                await RowsAsync(
                    "select resource || ' ' || scope from token_service.client_scope where client_id = 'sharing' order by resource, scope"),
                Is.EqualTo(expected));
        }
    }

    [TestCaseSource(nameof(RefusedGrants))]
    public async Task A_grant_and_its_withdrawal_are_refused(string argument, string value, string state, string message, string hint)
    {
        var arguments = new Dictionary<string, string>
        {
            ["p_client_id"] = "'billing'",
            ["p_scope"] = "'parcels:read'",
            [argument] = value,
        };
        await IsRefusedAsync(Call("grant_scope", arguments), state, message, hint);
        await IsRefusedAsync(Call("revoke_scope", arguments), state, message, hint);
    }

    [Test]
    public async Task A_scope_is_granted_made_a_default_and_revoked()
    {
        await Database.ExecuteAsync("select token_service.create_resource('https://stock.example.com', array['stock:write'])");
        await BecomesAsync("grant_scope('billing', 'stock:write')", "parcels:read | False", "stock:write | False");
        await BecomesAsync("grant_scope('billing', 'stock:write', true)", "parcels:read | False", "stock:write | True");
        await BecomesAsync("grant_scope('billing', 'stock:write')", "parcels:read | False", "stock:write | True");
        await BecomesAsync("grant_scope('billing', 'stock:write', false)", "parcels:read | False", "stock:write | False");
        await BecomesAsync("revoke_scope('billing', 'stock:write')", "parcels:read | False");
        await BecomesAsync("revoke_scope('billing', 'parcels:read')");
        await BecomesAsync("grant_scope('billing', 'parcels:read')", "parcels:read | False");

        async Task BecomesAsync(string call, params string[] expected)
        {
            await Database.ExecuteAsync($"select token_service.{call}");
            Assert.That(
                await RowsAsync("select scope, is_default from token_service.client_scope where client_id = 'billing' order by scope"),
                Is.EqualTo(expected));
            await ChangesNothingAsync($"select token_service.{call}");
        }
    }

    [Test]
    public async Task Revoking_the_last_scope_warns_once()
    {
        await Database.CreateClientAsync("scopeless", "parcels:read", "");
        await Database.ExecuteAsync(
            """
            select token_service.create_resource('https://last.example.com', array['last']);
            select token_service.grant_scope('scopeless', 'last')
            """);
        Assert.That(await WarningsOfAsync("select token_service.revoke_scope('scopeless', 'last')"), Is.Empty);
        Assert.That(
            await WarningsOfAsync("select token_service.revoke_scope('scopeless', 'parcels:read')"),
            Is.EqualTo([
                "WARNING: Client \"scopeless\" has no scope left, so it can get no token. "
                + "Grant it one with scripts/grant-scope.sql, or disable it with scripts/disable-client.sql.",
            ]));
        Assert.That(await WarningsOfAsync("select token_service.revoke_scope('scopeless', 'parcels:read')"), Is.Empty);
    }
}
