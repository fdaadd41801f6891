using System.Collections.Frozen;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Tests.Tokens;

/// <summary>What a client is entitled to is worked out once for each scope it asks for, as long as nothing about it changes.</summary>
[TestFixture]
public sealed class ScopeGrants
{
    private static readonly Resource Api = new("https://api.example.com", SigningAlgorithm: null, MaxTokenLifetime: null);

    private const int Kept = 32;
    private const int MaxClients = 16;

    private readonly ScopeGrantCache scopeGrants = new(Options.Create(new ClientCacheOptions { MaxClients = MaxClients }));

    [TestCase(null)]
    [TestCase("read")]
    [TestCase("write read")]
    public void The_same_scope_is_the_same_grant(string? scope)
    {
        var client = NewClient();
        var first = Granted(client, scope);
        Assert.That(Granted(client, scope), Is.SameAs(first));
    }

    [Test]
    public void Another_scope_is_another()
    {
        var client = NewClient();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Granted(client, null).Scope.ToString(), Is.EqualTo("read"));
            Assert.That(Granted(client, "write").Scope.ToString(), Is.EqualTo("write"));
            Assert.That(Granted(client, "write read").Scope.ToString(), Is.EqualTo("read write"));
        }
    }

    // A client read anew is another object, even where it says the same.
    [Test]
    public void A_client_that_changed_is_entitled_to_what_it_has_now()
    {
        var before = NewClient();
        Granted(before, "write");
        Assert.That(Granted(before with { }, "write"), Is.Not.SameAs(Granted(before, "write")));

        var after = before with { Scopes = [.. before.Scopes.Where(scope => scope.Name != "write")] };
        Assert.That(scopeGrants.Decide(after, new TokenRequest("write", Resource: null)).TryGet(out _, out var error), Is.False);
        Assert.That(error?.Code, Is.EqualTo("invalid_scope"));
        Assert.That(Granted(before with { Scopes = [new("write", Api with { Id = "https://other.example.com" }, false)] }, "write").Resource.Id,
            Is.EqualTo("https://other.example.com"));
    }

    [TestCase("unheld")]
    [TestCase("read unheld")]
    [TestCase("read \"")]
    [TestCase("")]
    public void A_refusal_is_worked_out_each_time_also_after_a_grant(string scope)
    {
        var client = NewClient();
        Granted(client, "read");
        var first = Refused(client, scope);
        Assert.That(Refused(client, scope), Is.EqualTo(first).And.Not.SameAs(first));
    }

    // In how many ways a client can ask for the same must not matter.
    [Test]
    public void Only_so_many_are_kept_and_all_are_granted()
    {
        var client = NewClient() with
        {
            Scopes = [.. Enumerable.Range(0, 3 * Kept).Select(i => new HeldScope($"scope-{i}", Api, true))],
        };
        var first = client.Scopes.Select(scope => Granted(client, scope.Name)).ToList();
        var again = client.Scopes.Select(scope => Granted(client, scope.Name)).ToList();
        Assert.That(again.Select(grant => grant.Scope.ToString()), Is.EqualTo(client.Scopes.Select(scope => scope.Name)));
        Assert.That(first.Zip(again).Count(pair => ReferenceEquals(pair.First, pair.Second)), Is.EqualTo(Kept));
    }

    [Test]
    public void Clients_that_are_too_many_to_be_kept_are_granted_all_the_same()
    {
        List<Client> clients = [.. Enumerable.Range(0, 3 * MaxClients).Select(i => NewClient() with { Id = $"client-{i}" })];
        var first = clients.Select(client => Granted(client, "read")).ToList();
        var again = clients.Select(client => Granted(client, "read")).ToList();
        Assert.That(again.Select(grant => grant.Scope.ToString()), Is.All.EqualTo("read"));
        Assert.That(first.Zip(again).Count(pair => ReferenceEquals(pair.First, pair.Second)), Is.LessThanOrEqualTo(MaxClients));
    }

    private ScopeGrant Granted(Client client, string? scope)
    {
        Assert.That(scopeGrants.Decide(client, new TokenRequest(scope, Resource: null)).TryGet(out var grant, out _), Is.True);
        return grant!;
    }

    private OAuthError Refused(Client client, string scope)
    {
        Assert.That(scopeGrants.Decide(client, new TokenRequest(scope, Resource: null)).TryGet(out _, out var error), Is.False);
        return error!;
    }

    private static Client NewClient() => new()
    {
        Id = "billing",
        IsEnabled = true,
        AuthenticationMethods = FrozenSet<string>.Empty,
        TokenLifetime = null,
        TokensPerMinute = null,
        ExtraClaims = FrozenDictionary<string, System.Text.Json.JsonElement>.Empty,
        Secrets = [],
        Scopes =
        [
            new("read", Api, IsDefault: true),
            new("write", Api, IsDefault: false),
        ],
        Resources = [],
        TokensNotBefore = null,
    };
}
