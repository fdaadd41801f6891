using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>The SQL functions that register clients which may introspect the tokens for a resource.</summary>
[TestFixture]
public sealed class ResourceServerFunctions : AdminFixture
{
    private const string Other = "https://other.example.com";

    private static IEnumerable<TestCaseData> RefusedRegistrations() =>
    [
        .. RefusedClientIds(),
        .. UnknownResource("null", ""), .. UnknownResource("''", ""),
        .. UnknownResource("'https://api.example.com/'", "https://api.example.com/"),
        .. UnknownResource("'tsvc_BBBBBBBBBBBB_secret'", "tsvc_…"),
    ];

    [TestCaseSource(nameof(RefusedRegistrations))]
    public async Task A_registration_and_an_unregistration_are_refused(
        string argument, string value, string state, string message, string hint)
    {
        var arguments = new Dictionary<string, string>
        {
            ["p_client_id"] = "'billing'",
            ["p_resource"] = "'https://api.example.com'",
            [argument] = value,
        };
        await IsRefusedAsync(Call("register_resource_server", arguments), state, message, hint);
        await IsRefusedAsync(Call("unregister_resource_server", arguments), state, message, hint);
    }

    [Test]
    public async Task A_client_is_registered_and_unregistered()
    {
        await Database.ExecuteAsync($"select token_service.create_resource('{Other}')");
        await BecomesAsync($"register_resource_server('billing', '{Other}')", Other);
        await BecomesAsync("register_resource_server('billing', 'https://api.example.com')", $"https://api.example.com {Other}");
        await BecomesAsync($"unregister_resource_server('billing', '{Other}')", "https://api.example.com");
        await BecomesAsync("unregister_resource_server('billing', 'https://api.example.com')", "-");

        async Task BecomesAsync(string call, string expected)
        {
            await Database.ExecuteAsync($"select token_service.{call}");
            Assert.That(
                await RowsAsync(
                    "select string_agg(resource, ' ' order by resource) from token_service.resource_server where client_id = 'billing'"),
                Is.EqualTo([expected]));
            Assert.That(await RowsAsync("select speaks_for from token_service.clients_report('billing')"), Is.EqualTo([expected]));
            await ChangesNothingAsync($"select token_service.{call}");
        }
    }

    [Test]
    public async Task A_client_may_speak_for_a_resource_and_hold_no_scope()
    {
        Assert.That(
            await RowsAsync("select token_service.create_client('api', 'The API')"),
            Is.EqualTo(["api"]));
        await Database.ExecuteAsync("select token_service.register_resource_server('api', 'https://api.example.com')");
        Assert.That(
            await RowsAsync("select live_secrets, scopes, default_scopes, speaks_for from token_service.clients_report('api')"),
            Is.EqualTo(["0 | - | - | https://api.example.com"]));

        await IsRefusedAsync(
            "select token_service.create_client('api-2', 'x', null, '{}', array['parcels:read'])",
            PostgresErrorCodes.CheckViolation, "A default scope of client \"api-2\" is not among its scopes.",
            "Default scopes are those of its scopes granted when a request names none.");
    }

    [Test]
    public async Task A_deleted_client_speaks_for_nothing()
    {
        await Database.CreateClientAsync("gone", "parcels:read", "");
        await Database.ExecuteAsync(
            """
            select token_service.register_resource_server('gone', 'https://api.example.com');
            select token_service.set_client_enabled('gone', false), token_service.delete_client('gone')
            """);
        Assert.That(await RowsAsync("select client_id from token_service.resource_server where client_id = 'gone'"), Is.Empty);
    }

    [Test]
    public async Task A_renamed_resource_keeps_its_registered_clients()
    {
        await Database.ExecuteAsync(
            """
            select token_service.create_resource('https://old.example.com');
            select token_service.register_resource_server('billing', 'https://old.example.com');
            update token_service.resource set id = 'https://new.example.com' where id = 'https://old.example.com'
            """);
        Assert.That(
            await RowsAsync("select client_id from token_service.resource_server where resource = 'https://new.example.com'"),
            Is.EqualTo(["billing"]));
        await Database.ExecuteAsync("delete from token_service.resource_server");
    }

    private static IEnumerable<TestCaseData> UnknownResource(string value, string shown) => Refused("p_resource", [value],
        PostgresErrorCodes.NoDataFound, $"There is no resource \"{shown}\".",
        "Check its spelling to the last slash, or make it with scripts/create-resource.sql.");
}
