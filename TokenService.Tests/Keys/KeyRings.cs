using System.Text.Json;
using TokenService.Keys;

namespace TokenService.Tests.Keys;

/// <summary>Which key signs, and which are published, at an instant.</summary>
[TestFixture]
public sealed class KeyRings
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    // Published at 10, signs from 20 until 30, gone after 40.
    [TestCase(9, SigningKeyState.Next)]
    [TestCase(10, SigningKeyState.Next)]
    [TestCase(19, SigningKeyState.Next)]
    [TestCase(20, SigningKeyState.Signing)]
    [TestCase(29, SigningKeyState.Signing)]
    [TestCase(30, SigningKeyState.Retiring)]
    [TestCase(39, SigningKeyState.Retiring)]
    [TestCase(40, SigningKeyState.Gone)]
    public void A_key_is_next_then_signs_then_retires_then_is_gone(int now, object state)
    {
        var key = Key("key", 10, 20, 30, 40);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(key.StateAt(At(now)), Is.EqualTo(state));
            Assert.That((key with { WithdrawnAt = At(0) }).StateAt(At(now)), Is.EqualTo(SigningKeyState.Withdrawn));
        }
    }

    [TestCase(29, "key", true)]
    [TestCase(30, null, true)]
    [TestCase(39, null, true)]
    [TestCase(40, null, false)]
    public void A_key_that_has_ended_signs_no_more_and_is_published_until_it_is_gone(int now, string? signing, bool published) =>
        IsAt(now, signing, published ? ["key"] : [], Key("key", 10, 20, 30, 40));

    [TestCase(19, "old")]
    [TestCase(20, "new")]
    [TestCase(30, "new")]
    public void The_key_that_began_last_signs(int now, string signing) =>
        IsAt(now, signing, ["old", "new"], Key("old", 0, 0, 25, 100), Key("new", 10, 20, 50, 100));

    // As on a replica whose clock is behind the one that made the first key.
    [TestCase(0, "a")]
    [TestCase(10, "a")]
    [TestCase(20, "b")]
    public void Before_any_has_begun_the_first_to_come_signs(int now, string signing) =>
        IsAt(now, signing, ["a", "b"], Key("b", 5, 20), Key("a", 5, 10));

    [Test]
    public void A_withdrawn_key_neither_signs_nor_is_published() =>
        IsAt(15, "next", ["next"], Key("withdrawn", 0, 0) with { WithdrawnAt = At(15) }, Key("next", 0, 20));

    // An algorithm that is new here: its first key is published, and until it signs another algorithm's does.
    [TestCase(19, "old")]
    [TestCase(20, "new")]
    public void Until_the_wanted_algorithm_has_begun_another_signs(int now, string signing)
    {
        var ring = new KeyRing([Key("old", 0, 0), Key("new", 10, 20) with { Algorithm = "RS256" }]);
        Assert.That(ring.SigningAt(At(now), "RS256", "RS256")?.Kid, Is.EqualTo(signing));
    }

    // Tokens for a resource that wants RS256, which is new here, are signed as all others are, and not as yet another resource's.
    [Test]
    public void Until_a_resources_algorithm_has_begun_the_default_signs()
    {
        var ring = new KeyRing([Key("default", 0, 0), Key("another's", 0, 5) with { Algorithm = "ES384" }, Key("its", 10, 20) with { Algorithm = "RS256" }]);
        Assert.That(ring.SigningAt(At(19), "RS256", "ES256")?.Kid, Is.EqualTo("default"));
    }

    // Replicas must agree without asking each other.
    [Test]
    public void Of_two_that_began_together_the_same_one_signs_whatever_their_order()
    {
        IsAt(5, "b", ["a", "b"], Key("a", 0, 0), Key("b", 0, 0));
        IsAt(5, "b", ["a", "b"], Key("b", 0, 0), Key("a", 0, 0));
    }

    [Test]
    public void Without_keys_none_signs() => IsAt(0, null, []);

    // The newest key says how long the one after it will wait.
    [TestCase(60, 60, 60)]
    [TestCase(60, 30, 30)]
    [TestCase(30, 60, 30)]
    public void The_JWKS_is_kept_no_longer_than_the_next_key_waits(int configured, int newest, int served) =>
        Assert.That(
            new KeyRing([Key("old", 0, 0), Key("new", 1, 20) with { JwksMaxAge = TimeSpan.FromSeconds(newest) }])
                .JwksMaxAge(TimeSpan.FromSeconds(configured)),
            Is.EqualTo(TimeSpan.FromSeconds(served)));

    private static void IsAt(int now, string? signing, string[] published, params SigningKey[] keys)
    {
        var ring = new KeyRing(keys);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(ring.SigningAt(At(now), "ES256", "ES256")?.Kid, Is.EqualTo(signing));
            Assert.That(ring.PublishedAt(At(now)).Select(key => key.Kid), Is.EqualTo(published));
        }
    }

    private static SigningKey Key(string kid, int publishedAt, int signsFrom, int? signsUntil = null, int? goneAfter = null) => new()
    {
        Kid = kid,
        Algorithm = "ES256",
        PublicJwk = JsonElement.Parse("{}"),
        PublishedAt = At(publishedAt),
        KnownFrom = At(signsFrom),
        JwksMaxAge = TimeSpan.FromMinutes(5),
        SignsFrom = At(signsFrom),
        SignsUntil = signsUntil is { } until ? At(until) : null,
        GoneAfter = goneAfter is { } gone ? At(gone) : null,
    };

    private static DateTimeOffset At(int second) => Start.AddSeconds(second);
}
