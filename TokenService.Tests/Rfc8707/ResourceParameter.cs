using System.Buffers.Text;
using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8707;

/// <summary>A client of several resources names the one that its token is for.</summary>
[TestFixture, Rfc(8707, "2")]
public sealed class ResourceParameter : ServerFixture
{
    private const string Api = "https://api.example.com";
    private const string Ledger = "https://ledger.example.com";
    private const string WithQuery = "https://shared.example.com/api?tenant=1&b=/?";
    private const string Urn = "urn:example:parcels";

    // An API that expects a plain name as aud.
    private const string Named = "ledger-v1";

    // Somebody else's.
    private const string Orders = "https://orders.example.com";

    private const string Malformed =
        "A resource is an absolute URI without a fragment. Send a plain name as audience.";
    private const string Unknown = "The resource is unknown or not one of this client's.";
    private const string Several = "A token is for one resource: ask for one at a time.";
    private const string MalformedAudience = "An audience is an absolute URI without a fragment, or a plain name.";
    private const string Contradiction = "The parameters resource and audience name different resources.";

    // The longest resource that the database allows.
    private static readonly string Longest = "https://long.example.com/".PadRight(256, 'x');

    private TestClient both = null!;

    /// <summary>A client with default scopes at two resources.</summary>
    private TestClient bothByDefault = null!;

    [OneTimeSetUp]
    public async Task MakeClientsOfSeveralResources()
    {
        await Database.CreateClientAsync("ledger", "ledger:read ledger:write", "ledger:read", Ledger);
        await Database.CreateClientAsync("tenant", "tenant:read", "tenant:read", WithQuery);
        await Database.CreateClientAsync("parcels", "parcels:read", "parcels:read", Urn);
        await Database.CreateClientAsync("long", "long:read", "long:read", Longest);
        await Database.CreateClientAsync("orders", "orders:read", "orders:read", Orders);
        await Database.CreateClientAsync("named", "named:read", "named:read", Named);
        both = await Database.CreateClientAsync("both", "invoices:read invoices:write", "invoices:read");
        bothByDefault = await Database.CreateClientAsync("both-by-default", "invoices:read invoices:write", "invoices:read");
        await Database.ExecuteAsync(
            """
            select token_service.grant_scope('both', scope)
            from unnest(array['ledger:read', 'ledger:write', 'tenant:read', 'parcels:read', 'long:read', 'named:read']) as scope;
            select token_service.grant_scope('both-by-default', 'ledger:read', true);
            """);
    }

    [TestCase(Api, "invoices:read")]
    [TestCase(Api, "invoices:read invoices:write")]
    [TestCase(Ledger, "ledger:read")]
    [TestCase(Ledger, "ledger:read ledger:write")]
    [TestCase(WithQuery, "tenant:read", Description = "RFC 8707 §2: SHOULD NOT have a query, but may.")]
    [TestCase(Urn, "parcels:read")]
    [Rfc(8707, "2a"), Rfc(8707, "2d"), Rfc(8707, "2.2"), Rfc(9700, "2.3a")]
    public async Task A_token_is_for_the_requested_resource_only(string resource, string scope) =>
        IsGrantFor(resource, scope, await AskBoth(resource).WithScope(scope).SendAsync(Server));

    [Test, Rfc(8707, "2a")]
    public async Task A_resource_may_have_256_characters()
    {
        IsGrantFor(Longest, "long:read", await AskBoth(Longest).WithScope("long:read").SendAsync(Server));
        IsInvalidTarget(await AskBoth(Longest + "x").WithScope("long:read").SendAsync(Server), Malformed);
    }

    // RFC 3986 §3: no scheme, or nothing behind it.
    [TestCase("api.example.com")]
    [TestCase("//api.example.com")]
    [TestCase("/")]
    [TestCase("/invoices")]
    [TestCase("?tenant=1")]
    [TestCase(".")]
    [TestCase("*")]
    [TestCase("https")]
    [TestCase("https:")]
    [TestCase(":")]
    [TestCase("://api.example.com")]
    [TestCase("1https://api.example.com")]
    [TestCase("-https://api.example.com")]
    [TestCase("ht_tps://api.example.com")]
    // A fragment, even an empty one.
    [TestCase("#")]
    [TestCase("#part")]
    [TestCase("https://api.example.com#")]
    [TestCase("https://api.example.com#part")]
    [TestCase("https://api.example.com/?x#part")]
    // RFC 3986 §2: characters that no URI has.
    [TestCase(" ")]
    [TestCase(" https://api.example.com")]
    [TestCase("https://api.example.com ")]
    [TestCase("https://api.example.com https://ledger.example.com")]
    [TestCase("https://api.example.com/\"")]
    [TestCase("https://api.example.com/<")]
    [TestCase("https://api.example.com/>")]
    [TestCase("https://api.example.com\\")]
    [TestCase("https://api.example.com/^")]
    [TestCase("https://api.example.com/`")]
    [TestCase("https://api.example.com/{")]
    [TestCase("https://api.example.com/|")]
    [TestCase("https://api.example.com/}")]
    [TestCase("https://grün.example.com")]
    [TestCase("https://api.example.com/\U0001F600")]
    [TestCase("https://api.example.com\u200B")]
    [TestCase("\nhttps://api.example.com")]
    [TestCase("https://api.example.com\r\nX: y")]
    [TestCase("https://api.example.com\t")]
    [TestCase("https://api.example.com\0")]
    [TestCase("https://api.example.com\u007F")]
    [Rfc(8707, "2a"), Rfc(8707, "2c")]
    public async Task A_resource_that_is_no_absolute_URI_or_has_a_fragment_is_refused(string resource) =>
        IsInvalidTarget(await AskBoth(resource).SendAsync(Server), Malformed);

    [Test, Rfc(8707, "2a"), Rfc(8707, "2c")]
    public async Task A_resource_of_ten_thousand_characters_is_refused() =>
        IsInvalidTarget(await AskBoth("https://" + new string('x', 10_000)).SendAsync(Server), Malformed);

    [TestCase("https://nowhere.example.com")]
    [TestCase("urn:example:nothing")]
    [TestCase("x:y")]
    [TestCase("x-1.y+z:y", Description = "RFC 3986 §3.1: all that a scheme may have.")]
    [TestCase("https://api.example.com'--")]
    [TestCase(Orders, Description = "The resource exists, and the answer does not reveal that.")]
    [Rfc(8707, "2c")]
    public async Task An_unknown_resource_and_a_resource_of_another_client_are_refused_alike(string resource)
    {
        IsInvalidTarget(await AskBoth(resource).SendAsync(Server), Unknown);
        IsInvalidTarget(await AskBoth(resource).WithScope("orders:read").SendAsync(Server), Unknown);
    }

    // RFC 3986 §6 normalises URIs before it compares them. The server does not, because resources are names (RFC 9068
    // §3).
    [TestCase("HTTPS://api.example.com")]
    [TestCase("https://API.example.com")]
    [TestCase("https://api.example.com//")]
    [TestCase("https://api.example.com/.")]
    [TestCase("https://api.example.com?")]
    [TestCase("https://api.example.com:443")]
    [TestCase("https://api.example.com.")]
    [TestCase("https://%61pi.example.com")]
    [TestCase("https://user@api.example.com")]
    [TestCase("http://api.example.com")]
    [TestCase("https://api.example.co")]
    [TestCase("https://api.example.com%20")]
    [Rfc(8707, "2c"), Rfc(8414, "4")]
    public async Task A_resource_is_compared_character_by_character(string resource)
    {
        IsInvalidTarget(await AskBoth(resource).SendAsync(Server), Unknown);
        IsInvalidTarget(await AskBoth(resource).With("resource", Api).SendAsync(Server), Several);
    }

    // new URL("https://api.example.com").href has a slash at its end.
    [Test, Rfc(8707, "2c")]
    public async Task A_resource_that_differs_by_the_slash_at_its_end_is_refused_and_the_right_one_named([Values] bool asAudience)
    {
        var slashed = await Database.CreateClientAsync($"slashed-{asAudience}", "s:read", "s:read", "https://slashed.example.com/v1/");
        var name = asAudience ? "audience" : "resource";
        IsInvalidTarget(
            await TokenRequestBuilder.For(both).With(name, Api + "/").SendAsync(Server),
            $"{Unknown} The slash at its end counts: this client has {Api}");
        IsInvalidTarget(
            await TokenRequestBuilder.For(slashed).With(name, "https://slashed.example.com/v1").SendAsync(Server),
            $"{Unknown} The slash at its end counts: this client has https://slashed.example.com/v1/");
        // A resource of another client is not named.
        IsInvalidTarget(await TokenRequestBuilder.For(both).With(name, Orders + "/").SendAsync(Server), Unknown);
    }

    [TestCase("urn:EXAMPLE:parcels")]
    [TestCase("URN:example:parcels")]
    [TestCase("urn:example:Parcels")]
    [Rfc(8707, "2c")]
    public async Task A_URN_is_compared_character_by_character(string resource) =>
        IsInvalidTarget(await AskBoth(resource).SendAsync(Server), Unknown);

    [TestCase(1)]
    [TestCase(2)]
    [Rfc(8707, "2e"), Rfc(6749, "3.2b")]
    public async Task A_resource_without_a_value_counts_as_omitted(int times)
    {
        var request = TokenRequestBuilder.For(both);
        for (var i = 0; i < times; i++)
            request.With("resource", "");
        IsGrantFor(Api, "invoices:read", await request.SendAsync(Server));
        IsGrantFor(Ledger, "ledger:read", await request.With("resource", Ledger).WithScope("ledger:read").SendAsync(Server));
    }

    [TestCase(null, "invoices:read", Api)]
    [TestCase("invoices:write", "invoices:write", Api)]
    [TestCase("ledger:read", "ledger:read", Ledger)]
    [Rfc(8707, "2e")]
    public async Task A_token_without_a_requested_resource_is_for_the_resource_of_its_scopes(
        string? scope, string granted, string resource)
    {
        var request = TokenRequestBuilder.For(both);
        IsGrantFor(resource, granted, await (scope is null ? request : request.WithScope(scope)).SendAsync(Server));
    }

    [Test, Rfc(8707, "2b"), Rfc(6749, "3.2d")]
    public async Task The_same_resource_may_be_named_twice() =>
        IsGrantFor(Api, "invoices:read", await AskBoth(Api).With("resource", Api).SendAsync(Server));

    [TestCase(Api, Ledger, Several)]
    [TestCase(Ledger, Api, Several)]
    [TestCase(Api, "https://nowhere.example.com", Several)]
    [TestCase("https://nowhere.example.com", Api, Several)]
    [TestCase(Api, Orders, Several)]
    [TestCase(Api, "https://api.example.com#part", Malformed)]
    [TestCase("api.example.com", Api, Malformed)]
    [Rfc(8707, "2b"), Rfc(8707, "3"), Rfc(9700, "2.3a")]
    public async Task A_token_for_several_resources_is_refused(string one, string other, string description)
    {
        IsInvalidTarget(await AskBoth(one).With("resource", other).SendAsync(Server), description);
        IsInvalidTarget(await AskBoth(one).With("resource", other).WithScope("invoices:read").SendAsync(Server), description);
        IsInvalidTarget(await AskBoth(one).With("resource", one).With("resource", other).SendAsync(Server), description);
    }

    [TestCase("ledger:read", Description = "The client holds this scope at another resource.")]
    [TestCase("invoices:read ledger:read")]
    [TestCase("ledger:read ledger:write")]
    [TestCase("orders:read")]
    [TestCase("invoices:delete")]
    [TestCase("invoices:read unknown")]
    [Rfc(8707, "2.2"), Rfc(6749, "3.3f")]
    public async Task A_scope_that_the_client_does_not_hold_at_the_resource_is_refused(string scope) =>
        (await AskBoth(Api).WithScope(scope).SendAsync(Server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client there.");

    [Test, Rfc(8707, "2.2"), Rfc(6749, "3.3c")]
    public async Task A_request_without_a_scope_is_granted_the_default_scopes_of_the_resource()
    {
        IsGrantFor(Api, "invoices:read", await AskBoth(Api).SendAsync(Server));
        IsGrantFor(Api, "invoices:read", await TokenRequestBuilder.For(bothByDefault).With("resource", Api).SendAsync(Server));
        IsGrantFor(Ledger, "ledger:read", await TokenRequestBuilder.For(bothByDefault).With("resource", Ledger).SendAsync(Server));
    }

    [Test, Rfc(8707, "2.2"), Rfc(6749, "3.3c")]
    public async Task A_request_without_a_scope_is_refused_at_a_resource_without_default_scopes() =>
        (await AskBoth(Ledger).SendAsync(Server))
            .IsError(400, "invalid_scope", "This client has no default scopes there: name the scopes you want.");

    [Test, Rfc(8707, "2c")]
    public async Task A_malformed_resource_is_reported_before_a_scope_that_is_not_held() =>
        IsInvalidTarget(await AskBoth("api.example.com").WithScope("unheld").SendAsync(Server), Malformed);

    [Test, Rfc(8707, "2c"), Rfc(6749, "3.3a")]
    public async Task A_malformed_scope_is_refused_alike_with_and_without_a_resource()
    {
        var without = await TokenRequestBuilder.For(both).WithScope("a  b").SendAsync(Server);
        var with = await AskBoth(Api).WithScope("a  b").SendAsync(Server);

        Assert.That(with.Json.GetProperty("error").GetString(), Is.EqualTo("invalid_scope"));
        Assert.That((with.Status, with.Body), Is.EqualTo((without.Status, without.Body)));
    }

    [Test, Rfc(8707, "2c")]
    public async Task A_client_that_fails_to_authenticate_learns_nothing_of_resources(
        [Values(Api, Orders, "api.example.com")] string resource) =>
        (await TokenRequestBuilder.For(both with { Secret = "wrong" }).With("resource", resource).SendAsync(Server)).IsInvalidClient();

    // The resource parameter may repeat, but the limit on the number of parameters still applies.
    [Test, Rfc(8707, "2b")]
    public async Task Each_repetition_of_the_resource_counts_among_the_64_parameters()
    {
        var request = TokenRequestBuilder.For(both);
        for (var i = 0; i < 63; i++)
            request.With("resource", Api);
        IsGrantFor(Api, "invoices:read", await request.SendAsync(Server));

        (await request.With("resource", Api).SendAsync(Server)).IsError(400, "invalid_request",
            "The body has more than 64 parameters.");
        (await request.Without("resource").WithBody(string.Join('&', Enumerable.Repeat("resource", 65))).SendAsync(Server))
            .IsError(400, "invalid_request", "The body has more than 64 parameters.");
    }

    [TestCase("Resource")]
    [TestCase("RESOURCE")]
    [TestCase("resource[]")]
    [TestCase("resource ")]
    [TestCase("Audience")]
    [Rfc(6749, "3.2c")]
    public async Task A_parameter_of_another_name_is_ignored(string name) =>
        IsGrantFor(Api, "invoices:read", await TokenRequestBuilder.For(both).With(name, Ledger).SendAsync(Server));

    // Clients of Auth0 and Hydra send this parameter.
    [TestCase(Api, "invoices:read")]
    [TestCase(Ledger, "ledger:read ledger:write")]
    [TestCase(Urn, "parcels:read")]
    [TestCase(Named, "named:read", Description = "A plain name, which RFC 8707 §2 does not know.")]
    public async Task An_audience_means_what_a_resource_means(string audience, string scope)
    {
        IsGrantFor(audience, scope, await TokenRequestBuilder.For(both).With("audience", audience).WithScope(scope).SendAsync(Server));
        (await TokenRequestBuilder.For(both).With("audience", audience).WithScope("invoices:read orders:read").SendAsync(Server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client there.");
    }

    [Test]
    public async Task With_an_audience_and_without_a_scope_the_defaults_there_are_granted()
    {
        IsGrantFor(Ledger, "ledger:read", await TokenRequestBuilder.For(bothByDefault).With("audience", Ledger).SendAsync(Server));
        (await TokenRequestBuilder.For(both).With("audience", Ledger).SendAsync(Server))
            .IsError(400, "invalid_scope", "This client has no default scopes there: name the scopes you want.");
    }

    [TestCase("https://nowhere.example.com")]
    [TestCase("nowhere")]
    [TestCase(Orders)]
    [TestCase("Ledger-v1")]
    [TestCase("both", Description = "A client is no audience of tokens.")]
    public async Task An_audience_that_is_unknown_and_one_of_others_are_refused_alike(string audience) =>
        IsInvalidTarget(await TokenRequestBuilder.For(both).With("audience", audience).SendAsync(Server), Unknown);

    [TestCase("https://api.example.com#part")]
    [TestCase("name#part")]
    [TestCase("two names")]
    [TestCase("https://api.example.com https://ledger.example.com")]
    [TestCase("https:")]
    [TestCase(":name")]
    [TestCase("né")]
    [TestCase("\nname")]
    [TestCase("name\0")]
    [TestCase("\"name\"")]
    public async Task An_audience_that_is_neither_a_URI_nor_a_name_is_refused(string audience) =>
        IsInvalidTarget(await TokenRequestBuilder.For(both).With("audience", audience).SendAsync(Server), MalformedAudience);

    [Test]
    public async Task An_audience_may_have_256_characters_too()
    {
        var name = new string('x', 256);
        IsInvalidTarget(await TokenRequestBuilder.For(both).With("audience", name).SendAsync(Server), Unknown);
        IsInvalidTarget(await TokenRequestBuilder.For(both).With("audience", name + "x").SendAsync(Server), MalformedAudience);
    }

    [Test]
    public async Task An_audience_without_a_value_counts_as_omitted() =>
        IsGrantFor(Api, "invoices:read", await TokenRequestBuilder.For(both).With("audience", "").SendAsync(Server));

    [Test, Rfc(6749, "3.2d")]
    public async Task An_audience_may_not_repeat() =>
        (await TokenRequestBuilder.For(both).With("audience", Api).With("audience", Api).SendAsync(Server))
            .IsError(400, "invalid_request", "A parameter is repeated. Separate several scopes by spaces.");

    [Test, Rfc(8707, "2a")]
    public async Task A_resource_is_a_URI_even_where_its_API_has_a_plain_name() =>
        IsInvalidTarget(await AskBoth(Named).WithScope("named:read").SendAsync(Server), Malformed);

    [Test]
    public async Task A_resource_and_an_audience_that_are_the_same_are_one() =>
        IsGrantFor(
            Ledger, "ledger:read",
            await AskBoth(Ledger).With("audience", Ledger).With("resource", Ledger).WithScope("ledger:read").SendAsync(Server));

    [TestCase(Api, Ledger, Contradiction)]
    [TestCase(Ledger, Api, Contradiction)]
    [TestCase(Api, Named, Contradiction)]
    [TestCase(Api, "https://api.example.com/", Contradiction)]
    [TestCase(Api, "https://nowhere.example.com", Contradiction)]
    [TestCase("api.example.com", Api, Malformed)]
    [TestCase(Api, "https://api.example.com#part", MalformedAudience)]
    public async Task A_resource_and_an_audience_that_differ_are_refused(string resource, string audience, string description) =>
        IsInvalidTarget(await AskBoth(resource).With("audience", audience).SendAsync(Server), description);

    [Test]
    public async Task A_resource_in_the_query_is_not_read() =>
        IsGrantFor(Api, "invoices:read",
            await TokenRequestBuilder.For(both).WithPath($"/token?resource={Uri.EscapeDataString(Ledger)}").SendAsync(Server));

    [Test]
    public async Task The_event_names_the_resource_that_was_granted()
    {
        var granted = await Server.Events.OfAsync((await AskBoth(Ledger).WithScope("ledger:read").SendAsync(Server)).EventId);
        var refused = await Server.Events.OfAsync((await AskBoth(Orders).SendAsync(Server)).EventId);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(granted.GetProperty("resource").GetString(), Is.EqualTo(Ledger));
            Assert.That(refused.TryGetProperty("resource", out _), Is.False);
            Assert.That(refused.GetProperty("error").GetString(), Is.EqualTo("invalid_target"));
            Assert.That(refused.GetProperty("reason").GetString(), Is.EqualTo("resource_not_held"));
        }
    }

    // The server caches its decision, so the change has to reach the cache.
    [Test, Rfc(8707, "2c")]
    public async Task A_resource_is_unknown_to_a_client_that_lost_its_last_scope_there()
    {
        var client = await Database.CreateClientAsync("loser", "ledger:read ledger:write", "ledger:read", Ledger);
        var request = TokenRequestBuilder.For(client).With("resource", Ledger);
        IsGrantFor(Ledger, "ledger:read", await request.SendAsync(Server));

        await Database.ExecuteAsync("select token_service.revoke_scope('loser', 'ledger:read')");
        await Server.HasReceivedNotificationsAsync();
        IsGrantFor(Ledger, "ledger:write",
            await TokenRequestBuilder.For(client).With("resource", Ledger).WithScope("ledger:write").SendAsync(Server));
        await Database.ExecuteAsync("delete from token_service.client_scope where client_id = 'loser'");
        await Server.HasReceivedNotificationsAsync();
        IsInvalidTarget(await request.SendAsync(Server), Unknown);
    }

    private TokenRequestBuilder AskBoth(string resource) => TokenRequestBuilder.For(both).With("resource", resource);

    private static void IsGrantFor(string resource, string scope, Answer answer)
    {
        answer.IsGrant(scope);
        var payload = JsonElement.Parse(Base64Url.DecodeFromChars(answer.Token.EncodedPayload));
        // aud must be a string. GetString throws on an array, also on an array of one.
        Assert.That((payload.GetProperty("aud").GetString(), payload.GetProperty("scope").GetString()), Is.EqualTo((resource, scope)));
    }

    private static void IsInvalidTarget(Answer answer, string description) => answer.IsError(400, "invalid_target", description);
}
