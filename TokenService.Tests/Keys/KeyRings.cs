using System.Text.Json;
using TokenService.Keys;

namespace TokenService.Tests.Keys;

/// <summary>A key ring decides which key signs, and which keys are published, at an instant.</summary>
[TestFixture]
public sealed class KeyRings
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    // The key is published at 10, signs from 20 until 30, and is gone after 40.
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
    public void A_key_stops_signing_at_its_end_and_is_published_until_it_is_gone(
        int now, string? signing, bool published) =>
        IsAt(now, signing, published ? ["key"] : [], Key("key", 10, 20, 30, 40));

    [TestCase(19, "old")]
    [TestCase(20, "new")]
    [TestCase(30, "new")]
    public void The_key_that_began_last_signs(int now, string signing) =>
        IsAt(now, signing, ["old", "new"], Key("old", 0, 0, 25, 100), Key("new", 10, 20, 50, 100));

    // A replica sees this when its clock is behind the clock of the replica that made the first key.
    [TestCase(0, "a")]
    [TestCase(10, "a")]
    [TestCase(20, "b")]
    public void The_earliest_key_signs_before_any_key_has_begun(int now, string signing) =>
        IsAt(now, signing, ["a", "b"], Key("b", 5, 20), Key("a", 5, 10));

    [Test]
    public void A_withdrawn_key_neither_signs_nor_is_published() =>
        IsAt(15, "next", ["next"], Key("withdrawn", 0, 0) with { WithdrawnAt = At(15) }, Key("next", 0, 20));

    // An attacker who can write the table gives an old row new dates. The seal keeps the end of the key's life.
    [TestCase(14, "key", true)]
    [TestCase(15, null, true)]
    [TestCase(15 + 87_299, null, true)]
    [TestCase(15 + 87_300, null, false, Description = "A day and a quarter of an hour, for its last tokens.")]
    public void A_key_is_gone_at_the_end_that_its_seal_binds_even_if_its_other_dates_are_later(int now, string? signing, bool published) =>
        IsAt(now, signing, published ? ["key"] : [], Key("key", 10, 10, 200_000, 300_000) with { EndsBy = At(15 + 87_300) });

    // The operator has set a longer signing period since the key was made, for 30 days.
    [TestCase(30, 30)]
    [TestCase(90, 60)]
    public void A_key_is_planned_to_end_30_days_before_the_end_that_its_seal_binds_at_the_latest(int periodInDays, int expected)
    {
        var key = Key("key", 0, 0) with { KnownFrom = Start, EndsBy = Start + TimeSpan.FromDays(90), JwksMaxAge = TimeSpan.FromMinutes(5) };
        var plan = new KeyPlan(key.Algorithm, [], TimeSpan.FromDays(periodInDays), TimeSpan.FromMinutes(5));

        var steps = plan.StepsAt(Start + TimeSpan.FromHours(1), new KeyRing([key]));
        Assert.That(steps[0], Is.EqualTo(new KeyStep.End("key", Start + TimeSpan.FromDays(expected))));
        Assert.That(((KeyStep.Make)steps[1]).SignsFrom, Is.EqualTo(Start + TimeSpan.FromDays(expected)));
    }

    // The first key of a newly configured algorithm is published before it signs.
    [TestCase(19, "old")]
    [TestCase(20, "new")]
    public void A_key_of_another_algorithm_signs_until_the_first_key_of_a_new_algorithm_begins(int now, string signing)
    {
        var ring = new KeyRing([Key("old", 0, 0), Key("new", 10, 20) with { Algorithm = "RS256" }]);
        Assert.That(ring.SigningByDefault(At(now), "RS256")?.Kid, Is.EqualTo(signing));
    }

    // A resource that asks for RS256 verifies nothing else, so no other key signs for it.
    [TestCase(9, null, 15)]
    [TestCase(14, null, 15)]
    [TestCase(15, "its", 15, Description = "Every verifier has it, though it was planned to begin at 20.")]
    [TestCase(20, "its", 15)]
    [TestCase(30, null, null)]
    public void No_key_signs_for_a_resource_with_its_own_algorithm_until_every_verifier_has_one_of_it(
        int now, string? signing, int? from)
    {
        var ring = new KeyRing(
        [
            Key("default", 0, 0),
            Key("another's", 0, 5) with { Algorithm = "ES384" },
            Key("its", 10, 20, 30) with { Algorithm = "RS256", KnownFrom = At(15) },
        ]);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(ring.SigningOf("RS256", At(now))?.Kid, Is.EqualTo(signing));
            Assert.That(ring.SignsFrom("RS256", At(now)), Is.EqualTo(from is { } second ? At(second) : null));
        }
    }

    // No verifier has a JWKS yet.
    [Test]
    public void At_the_first_start_the_first_key_of_each_algorithm_in_use_signs_at_once()
    {
        var steps = Plan("RS256", "ES384", "RS256").StepsAt(Start, new KeyRing([]));

        Assert.That(
            steps.Cast<KeyStep.Make>().Select(make => (make.Algorithm, make.PublishedAt, make.SignsFrom)),
            Is.EqualTo([("RS256", Start, Start), ("ES384", Start, Start)]));
    }

    // All replicas read the algorithms of resources from the database, so none of them ends the new key. The default is a
    // setting, which may differ between replicas.
    [TestCase("ES384", "ES384 published at 60 signs from 1080")]
    [TestCase(null, "")]
    public void An_algorithm_that_a_resource_asks_for_again_gets_a_key_while_its_last_one_is_still_published(
        string? ofResource, string expected)
    {
        var ended = Key("ended", 0, 0, 50, 500) with { Algorithm = "ES384" };
        var ring = new KeyRing([Key("a", 0, 0, 3600), Key("b", 0, 3600), ended]);
        var plan = Plan("ES256", ofResource is null ? [] : [ofResource]) with { Default = ofResource is null ? "ES384" : "ES256" };

        var made = plan.StepsAt(At(60), ring).OfType<KeyStep.Make>().Select(make =>
            $"{make.Algorithm} published at {(make.PublishedAt - Start).TotalSeconds} signs from {(make.SignsFrom - Start).TotalSeconds}");
        Assert.That(string.Join(", ", made), Is.EqualTo(expected));
    }

    // Replicas must agree without asking each other.
    [Test]
    public void The_order_of_two_keys_that_began_together_does_not_decide_which_signs()
    {
        IsAt(5, "b", ["a", "b"], Key("a", 0, 0), Key("b", 0, 0));
        IsAt(5, "b", ["a", "b"], Key("b", 0, 0), Key("a", 0, 0));
    }

    [Test]
    public void A_ring_without_keys_signs_and_publishes_nothing() => IsAt(0, null, []);

    // The newest key stores the max-age that the key after it must wait for.
    [TestCase(60, 60, 60)]
    [TestCase(60, 30, 30)]
    [TestCase(30, 60, 30)]
    public void The_JWKS_max_age_is_at_most_the_time_that_the_next_key_waits(int configured, int newest, int served) =>
        Assert.That(
            new KeyRing([Key("old", 0, 0), Key("new", 1, 20) with { JwksMaxAge = TimeSpan.FromSeconds(newest) }])
                .JwksMaxAge(TimeSpan.FromSeconds(configured)),
            Is.EqualTo(TimeSpan.FromSeconds(served)));

    private static void IsAt(int now, string? signing, string[] published, params SigningKey[] keys)
    {
        var ring = new KeyRing(keys);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(ring.SigningByDefault(At(now), "ES256")?.Kid, Is.EqualTo(signing));
            Assert.That(ring.PublishedAt(At(now)).Select(key => key.Kid), Is.EqualTo(published));
        }
    }

    private static KeyPlan Plan(string byDefault, params string[] ofResources) =>
        new(byDefault, ofResources, TimeSpan.FromDays(30), TimeSpan.FromMinutes(5));

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
