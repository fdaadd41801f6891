using System.Collections.Frozen;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Tests.Tokens;

/// <summary>
/// A grant is computed once for each scope that a client asks for, as long as the client does not change.
/// </summary>
[TestFixture]
public sealed class ScopeGrants
{
    private static readonly Resource Api =
        new("https://api.example.com", SigningAlgorithm: null, MaxTokenLifetime: null, TokenType: "at+jwt", RequiresDpop: false);

    private const int MaxGrants = 32;
    private const int MaxClients = 16;

    private readonly ScopeGrantCache scopeGrants = new(Options.Create(new ClientCacheOptions { MaxClients = MaxClients }));

    [TestCase(null)]
    [TestCase("read")]
    [TestCase("write read")]
    public void The_same_scope_gets_the_cached_grant(string? scope)
    {
        var client = NewClient();
        var first = Granted(client, scope);
        Assert.That(Granted(client, scope), Is.SameAs(first));
    }

    [Test]
    public void Another_scope_gets_another_grant()
    {
        var client = NewClient();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Granted(client, null).Scope.ToString(), Is.EqualTo("read"));
            Assert.That(Granted(client, "write").Scope.ToString(), Is.EqualTo("write"));
            Assert.That(Granted(client, "write read").Scope.ToString(), Is.EqualTo("read write"));
        }
    }

    // A scope of 2,048 characters in 32 spellings would take 130 KB for each hostile client.
    [Test]
    public void Long_spellings_of_a_scope_are_cached_up_to_4096_characters_in_all()
    {
        var client = NewClient();
        var spellings = Enumerable.Range(0, 3).Select(i => string.Join(' ', Enumerable.Repeat("read", 400 - i))).ToList();
        var first = spellings.ConvertAll(spelling => Granted(client, spelling));
        var second = spellings.ConvertAll(spelling => Granted(client, spelling));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(second[0], Is.SameAs(first[0]));
            Assert.That(second[1], Is.SameAs(first[1]));
            Assert.That(second[2], Is.Not.SameAs(first[2]));
            var shortOne = Granted(client, "read");
            Assert.That(Granted(client, "read"), Is.SameAs(shortOne), "a short one still has room");
        }
    }

    // A client that is read again is another object, even if its properties are the same.
    [Test]
    public void A_client_that_changed_is_entitled_to_the_scopes_it_has_now()
    {
        var before = NewClient();
        Granted(before, "write");
        Assert.That(Granted(before with { }, "write"), Is.Not.SameAs(Granted(before, "write")));

        var after = before with { Scopes = [.. before.Scopes.Where(scope => scope.Name != "write")] };
        Assert.That(scopeGrants.Decide(after, new TokenRequest("write", Resource: null)).TryGet(out _, out var error), Is.False);
        Assert.That(error?.Code, Is.EqualTo("invalid_scope"));
        var elsewhere = before with { Scopes = [new("write", Api with { Id = "https://other.example.com" }, false)] };
        Assert.That(Granted(elsewhere, "write").Resource.Id, Is.EqualTo("https://other.example.com"));
    }

    [TestCase("unheld")]
    [TestCase("read unheld")]
    [TestCase("read \"")]
    [TestCase("")]
    public void A_refusal_is_computed_each_time_even_after_a_grant(string scope)
    {
        var client = NewClient();
        Granted(client, "read");
        var first = Refused(client, scope);
        Assert.That(Refused(client, scope), Is.EqualTo(first).And.Not.SameAs(first));
    }

    // A client can ask for the same scopes in many ways, so the number of cached grants has an upper bound.
    [Test]
    public void The_cache_keeps_32_grants_of_a_client_and_every_scope_is_granted()
    {
        var client = NewClient() with
        {
            Scopes = [.. Enumerable.Range(0, 3 * MaxGrants).Select(i => new HeldScope($"scope-{i}", Api, true))],
        };
        var first = client.Scopes.Select(scope => Granted(client, scope.Name)).ToList();
        var again = client.Scopes.Select(scope => Granted(client, scope.Name)).ToList();
        Assert.That(again.Select(grant => grant.Scope.ToString()), Is.EqualTo(client.Scopes.Select(scope => scope.Name)));
        Assert.That(first.Zip(again).Count(pair => ReferenceEquals(pair.First, pair.Second)), Is.EqualTo(MaxGrants));
    }

    [Test]
    public void Clients_beyond_the_size_of_the_cache_are_granted_their_scopes()
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
        Keys = [],
        RequiresDpop = false,
        TokenEndpointAudienceUntil = null,
        Scopes =
        [
            new("read", Api, IsDefault: true),
            new("write", Api, IsDefault: false),
        ],
        Resources = [],
        TokensNotBefore = null,
    };
}
