using System.Text.Json;
using FsCheck;
using FsCheck.Fluent;
using TokenService.Keys;

namespace TokenService.Tests.Keys;

/// <summary>
/// A model of replicas, verifiers and an admin, with random settings, clocks and events, and with the keys as pure
/// state. In every history each replica can sign with the default algorithm at any time, and with the one of a resource
/// some time after the resource asked for it; and each token verifies with the JWKS that a verifier keeps for as long
/// as it may.
/// </summary>
[TestFixture]
public sealed class KeyLife
{
    [Test]
    public void A_replica_always_has_a_signing_key_and_every_key_is_published_until_its_last_token_expires()
    {
        var worldEvent = Gen.OneOf(
            Gen.Choose(1, 300).Select(minutes => (WorldEvent)new WorldEvent.Run(TimeSpan.FromMinutes(minutes))),
            Gen.Choose(1, 30).Select(hours => (WorldEvent)new WorldEvent.Down(TimeSpan.FromHours(hours))),
            Gen.Choose(0, 1).SelectMany(_ => Gen.Choose(-30, 30), (replica, offset) =>
                (WorldEvent)new WorldEvent.Clock(replica, TimeSpan.FromSeconds(offset))),
            Gen.Choose(0, 1).SelectMany(
                _ => Settings, (replica, plan) => (WorldEvent)new WorldEvent.Configure(replica, plan)),
            Gen.Choose(0, 1).Select(replica => (WorldEvent)new WorldEvent.Restart(replica)),
            Gen.Elements("ES256", "RS256", "PS256").Select(algorithm => (WorldEvent)new WorldEvent.Resource(algorithm)),
            Gen.Choose(1, 1440).Select(
                minutes => (WorldEvent)new WorldEvent.LongerTokens(TimeSpan.FromMinutes(minutes))),
            Gen.Constant((WorldEvent)new WorldEvent.Rotate()),
            Gen.Constant((WorldEvent)new WorldEvent.Withdraw()));
        var histories = Arb.From(
            Gen.ArrayOf(worldEvent, 30),
            history => history.Select((_, i) => history.Where((_, j) => j != i).ToArray()));

        Prop.ForAll(histories, history => new World().LiveThrough(history)).QuickCheckThrowOnFailure();
    }

    [Test]
    public void A_replica_whose_clock_goes_back_before_every_key_still_has_a_signing_key()
    {
        var world = new World();
        world.LiveThrough([new WorldEvent.Run(TimeSpan.FromHours(10))]);

        Assert.That(world.Ring.SigningByDefault(World.Beginning - TimeSpan.FromDays(1), "ES256"), Is.Not.Null);
    }

    // The successor has been known for a few seconds. On the replica whose clock is 18 seconds behind it is not known yet, and the
    // key of another algorithm that it has just made is known to nobody.
    [Test]
    public void A_key_withdrawn_when_its_successor_has_just_become_known_is_followed_by_that_on_a_clock_that_is_behind() =>
        new World().LiveThrough(
        [
            new WorldEvent.Configure(1, new KeyPlan("RS256", [], TimeSpan.FromHours(1), new TimeSpan(0, 25, 31))),
            new WorldEvent.Run(new TimeSpan(3, 48, 0)),
            new WorldEvent.Run(new TimeSpan(3, 49, 0)),
            new WorldEvent.Run(TimeSpan.FromMinutes(1)),
            new WorldEvent.Configure(0, new KeyPlan("ES384", [], TimeSpan.FromHours(5), new TimeSpan(0, 50, 28))),
            new WorldEvent.Clock(0, TimeSpan.FromSeconds(-18)),
            new WorldEvent.Withdraw(),
        ]);

    // One replica ends the keys of ES256 at its time, half a minute from now, and makes a new one for the resource. Until that
    // signs, the other replica must not end the keys of PS256, though its own ES256 key still signs.
    [Test]
    public void Two_replicas_do_not_end_each_others_keys_within_the_difference_of_their_clocks() => new World().LiveThrough(
    [
        new WorldEvent.Run(new TimeSpan(2, 51, 0)),
        new WorldEvent.Down(TimeSpan.FromHours(17)),
        new WorldEvent.Clock(1, TimeSpan.FromSeconds(30)),
        new WorldEvent.Resource("PS256"),
        new WorldEvent.Run(new TimeSpan(4, 30, 0)),
        new WorldEvent.Configure(1, new KeyPlan("PS256", [], TimeSpan.FromHours(1), new TimeSpan(0, 17, 40))),
        new WorldEvent.Resource("ES256"),
        new WorldEvent.Restart(1),
    ]);

    private static Gen<KeyPlan> Settings =>
        from algorithm in Gen.Elements("ES256", "ES384", "RS256", "PS256")
        from hours in Gen.Choose(1, 5)
        from seconds in Gen.Choose(1, 3600)
        select new KeyPlan(algorithm, [], TimeSpan.FromHours(hours), TimeSpan.FromSeconds(seconds));

    private abstract record WorldEvent
    {
        /// <summary>All replicas run: they issue tokens and the verifiers check them all the time.</summary>
        public sealed record Run(TimeSpan Time) : WorldEvent;

        /// <summary>No replica runs for a while; then all of them start.</summary>
        public sealed record Down(TimeSpan Time) : WorldEvent;

        public sealed record Clock(int Replica, TimeSpan Offset) : WorldEvent;

        public sealed record Configure(int Replica, KeyPlan Plan) : WorldEvent;

        public sealed record Restart(int Replica) : WorldEvent;

        /// <summary>An admin sets the algorithm of the one resource that has its own.</summary>
        public sealed record Resource(string Algorithm) : WorldEvent;

        public sealed record LongerTokens(TimeSpan Lifetime) : WorldEvent;

        public sealed record Rotate : WorldEvent;

        public sealed record Withdraw : WorldEvent;
    }

    private sealed class Replica(KeyPlan plan)
    {
        public KeyPlan Plan { get; set; } = plan;

        public TimeSpan Offset { get; set; }

        public KeyRing Ring { get; set; } = new([]);

        public DateTimeOffset LearnedAt { get; set; }
    }

    /// <summary>A verifier that keeps the JWKS for as long as it may and never fetches earlier.</summary>
    private sealed class Verifier
    {
        public HashSet<string> Kids { get; set; } = [];

        public DateTimeOffset FreshUntil { get; set; }
    }

    private sealed class World
    {
        public static readonly DateTimeOffset Beginning = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

        // The same margin as in the trigger signing_key_gone_after.
        private static readonly TimeSpan PublicationMargin = TimeSpan.FromMinutes(15);

        private static readonly TimeSpan Tick = TimeSpan.FromSeconds(55);

        private static readonly JsonElement NoJwk = JsonElement.Parse("{}");

        private readonly List<SigningKey> database = [];
        private readonly Replica[] replicas = [new(Initial), new(Initial)];
        private readonly Verifier[] verifiers = [new(), new(), new()];
        private readonly Dictionary<string, DateTimeOffset> lastExpiry = [];
        private readonly Random random = new(1);

        private DateTimeOffset now = Beginning;
        private TimeSpan lifetime = TimeSpan.FromMinutes(10);
        private string ofResource = "ES256";

        public KeyRing Ring => new(database);

        private static KeyPlan Initial => new("ES256", [], TimeSpan.FromHours(2), TimeSpan.FromMinutes(5));

        public void LiveThrough(IEnumerable<WorldEvent> history)
        {
            StartAll();
            foreach (var worldEvent in history)
                Apply(worldEvent);
            Run(TimeSpan.FromHours(3));
            foreach (var replica in replicas)
            {
                Require(
                    replica.Ring.SigningOf(ofResource, now + replica.Offset) is not null,
                    $"no {ofResource} key signs for the resource in the end");
            }
        }

        private void Apply(WorldEvent worldEvent)
        {
            switch (worldEvent)
            {
                case WorldEvent.Run run:
                    Run(run.Time);
                    break;
                case WorldEvent.Down down:
                    now += down.Time;
                    StartAll();
                    break;
                case WorldEvent.Clock clock:
                    replicas[clock.Replica].Offset = clock.Offset;
                    break;
                case WorldEvent.Configure configure:
                    replicas[configure.Replica].Plan = configure.Plan;
                    Step(replicas[configure.Replica]);
                    break;
                case WorldEvent.Restart restart:
                    Step(replicas[restart.Replica]);
                    break;
                case WorldEvent.Resource resource:
                    ofResource = resource.Algorithm;
                    break;
                case WorldEvent.LongerTokens longer:
                    lifetime = longer.Lifetime;
                    break;
                case WorldEvent.Rotate:
                    Rotate();
                    break;
                case WorldEvent.Withdraw:
                    Withdraw();
                    break;
                default:
                    throw new InvalidOperationException($"{worldEvent} is not a known event.");
            }
        }

        private void StartAll()
        {
            foreach (var replica in replicas)
                Step(replica);
        }

        private void Run(TimeSpan time)
        {
            for (var until = now + time; now < until; now += Tick)
            {
                foreach (var replica in replicas)
                {
                    // A replica mostly learns of a change soon, and now and then as late as it may.
                    if (now - replica.LearnedAt >= KeyPlan.LearningTime - Tick || random.Next(4) == 0)
                        Step(replica);
                    Sign(replica);
                }

                foreach (var verifier in verifiers)
                    Verify(verifier);
            }
        }

        private void Step(Replica replica)
        {
            var clock = now + replica.Offset;
            var plan = replica.Plan with { OfResources = [ofResource] };
            for (var i = 0; plan.StepsAt(clock, Ring) is { Count: > 0 } steps; i++)
            {
                Require(i < 20, "the steps of a plan do not end");
                foreach (var step in steps)
                    Take(step);
            }

            replica.Ring = Ring;
            replica.LearnedAt = now;
        }

        private void Take(KeyStep step)
        {
            switch (step)
            {
                case KeyStep.Make make:
                    database.Add(new SigningKey
                    {
                        Kid = $"{make.Algorithm}-{database.Count}",
                        Algorithm = make.Algorithm,
                        PublicJwk = NoJwk,
                        PublishedAt = make.PublishedAt,
                        KnownFrom = make.KnownFrom,
                        SignsFrom = make.SignsFrom,
                        EndsBy = make.EndsBy,
                        JwksMaxAge = make.JwksMaxAge,
                        MaxTokenLifetime = make.MaxTokenLifetime,
                    });
                    break;
                case KeyStep.Begin begin:
                    Change(begin.Kid, key => key with { SignsFrom = begin.From });
                    break;
                case KeyStep.End end:
                    Change(end.Kid, key => key with
                    {
                        SignsUntil = end.Until,
                        SignsFrom = key.SignsFrom < end.Until ? key.SignsFrom : end.Until,
                    });
                    break;
                default:
                    throw new InvalidOperationException($"{step} is not a known step.");
            }
        }

        private void Change(string kid, Func<SigningKey, SigningKey> change)
        {
            var i = database.FindIndex(key => key.Kid == kid);
            var changed = change(database[i]);
            database[i] = changed with
            {
                GoneAfter = changed.SignsUntil + changed.MaxTokenLifetime + PublicationMargin,
            };
        }

        // Models the function rotate_signing_key.
        private void Rotate()
        {
            foreach (var next in database.Where(key => key.SignsFrom > now && key.SignsUntil is null).ToList())
            {
                var forward = now > next.KnownFrom ? now : next.KnownFrom;
                foreach (var ending in database.Where(
                    key => key.Algorithm == next.Algorithm && key.SignsUntil == next.SignsFrom && key.SignsFrom <= forward).ToList())
                    Change(ending.Kid, key => key with { SignsUntil = forward });
                Change(next.Kid, key => key with { SignsFrom = forward });
            }
        }

        // Models the function withdraw_signing_key, for a key whose successor every verifier knows. Only tokens that
        // the withdrawn key signed stop verifying.
        private void Withdraw()
        {
            var signing = Ring.SigningOf("ES256", now);
            if (signing is null || !database.Exists(key => key.SignsFrom == signing.SignsUntil && key.KnownFrom <= now))
                return;

            Change(signing.Kid, key => key with { WithdrawnAt = now });
            lastExpiry.Remove(signing.Kid);
            StartAll(); // the replicas are notified
        }

        private void Sign(Replica replica)
        {
            var clock = now + replica.Offset;
            var byDefault = replica.Ring.SigningByDefault(clock, replica.Plan.Default);
            Require(byDefault is not null, $"no key signs at {clock:u}");
            // The resource gets no token while no key of its algorithm signs.
            foreach (var key in new[] { byDefault!, replica.Ring.SigningOf(ofResource, clock) }.OfType<SigningKey>())
            {
                Require(key.IsPublishedAt(clock), $"{key.Kid} signs at {clock:u} and is not published");

                if (lifetime > key.MaxTokenLifetime)
                {
                    Change(key.Kid, raised => raised with { MaxTokenLifetime = Longer(raised.MaxTokenLifetime, lifetime) });
                    replica.Ring = Ring;
                }

                lastExpiry[key.Kid] = Later(lastExpiry.GetValueOrDefault(key.Kid), clock + lifetime);
            }
        }

        private void Verify(Verifier verifier)
        {
            if (now >= verifier.FreshUntil)
            {
                var replica = replicas[random.Next(replicas.Length)];
                verifier.Kids = replica.Ring.PublishedAt(now + replica.Offset).Select(key => key.Kid).ToHashSet();
                verifier.FreshUntil = now + replica.Ring.JwksMaxAge(replica.Plan.JwksMaxAge);
            }

            foreach (var (kid, expiry) in lastExpiry.Where(entry => entry.Value > now))
                Require(
                    verifier.Kids.Contains(kid),
                    $"at {now:u} a token of {kid} that expires at {expiry:u} does not verify");
        }

        // Throws rather than asserts: NUnit would count each assertion that fails while FsCheck looks for a smaller
        // history.
        private static void Require(bool holds, string failure)
        {
            if (!holds)
                throw new InvalidOperationException(failure);
        }

        private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;

        private static TimeSpan Longer(TimeSpan a, TimeSpan b) => a > b ? a : b;
    }
}
