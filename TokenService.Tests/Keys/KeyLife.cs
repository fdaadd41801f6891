using System.Text.Json;
using FsCheck;
using FsCheck.Fluent;
using TokenService.Keys;

namespace TokenService.Tests.Keys;

/// <summary>
/// Replicas, verifiers and an admin in a world of random settings, clocks and events, with the keys as pure state: whatever
/// happens, each replica can sign, and each token verifies with the JWKS that a verifier keeps for as long as it may.
/// </summary>
[TestFixture]
public sealed class KeyLife
{
    [Test]
    public void No_instant_lacks_a_usable_key_and_no_token_outlives_the_publication_of_its_key()
    {
        var happening = Gen.OneOf(
            Gen.Choose(1, 300).Select(minutes => (Happening)new Happening.Run(TimeSpan.FromMinutes(minutes))),
            Gen.Choose(1, 30).Select(hours => (Happening)new Happening.Down(TimeSpan.FromHours(hours))),
            Gen.Choose(0, 1).SelectMany(_ => Gen.Choose(-30, 30), (replica, offset) =>
                (Happening)new Happening.Clock(replica, TimeSpan.FromSeconds(offset))),
            Gen.Choose(0, 1).SelectMany(_ => Settings, (replica, plan) => (Happening)new Happening.Configure(replica, plan)),
            Gen.Choose(0, 1).Select(replica => (Happening)new Happening.Restart(replica)),
            Gen.Choose(1, 1440).Select(minutes => (Happening)new Happening.LongerTokens(TimeSpan.FromMinutes(minutes))),
            Gen.Constant((Happening)new Happening.Rotate()),
            Gen.Constant((Happening)new Happening.Withdraw()));
        var histories = Arb.From(
            Gen.ArrayOf(happening, 30),
            history => history.Select((_, i) => history.Where((_, j) => j != i).ToArray()));

        Prop.ForAll(histories, history => new World().Live(history)).QuickCheckThrowOnFailure();
    }

    [Test]
    public void A_clock_that_goes_back_before_every_key_still_finds_one_to_sign_with()
    {
        var world = new World();
        world.Live([new Happening.Run(TimeSpan.FromHours(10))]);

        Assert.That(world.Ring.SigningAt(World.Beginning - TimeSpan.FromDays(1), "ES256", "ES256"), Is.Not.Null);
    }

    private static Gen<KeyPlan> Settings =>
        from algorithm in Gen.Elements("ES256", "ES384", "RS256", "PS256")
        from resource in Gen.Elements("ES256", "RS256")
        from hours in Gen.Choose(1, 5)
        from seconds in Gen.Choose(1, 3600)
        select new KeyPlan(
            algorithm, [algorithm, .. new[] { resource }.Except([algorithm])], TimeSpan.FromHours(hours), TimeSpan.FromSeconds(seconds));

    private abstract record Happening
    {
        /// <summary>Tokens are asked for and verified all the time.</summary>
        public sealed record Run(TimeSpan Time) : Happening;

        /// <summary>Nothing runs; then everything starts.</summary>
        public sealed record Down(TimeSpan Time) : Happening;

        public sealed record Clock(int Replica, TimeSpan Offset) : Happening;

        public sealed record Configure(int Replica, KeyPlan Plan) : Happening;

        public sealed record Restart(int Replica) : Happening;

        public sealed record LongerTokens(TimeSpan Lifetime) : Happening;

        public sealed record Rotate : Happening;

        public sealed record Withdraw : Happening;
    }

    /// <param name="plan">Its settings.</param>
    private sealed class Replica(KeyPlan plan)
    {
        public KeyPlan Plan { get; set; } = plan;

        public TimeSpan Offset { get; set; }

        public KeyRing Ring { get; set; } = new([]);

        public DateTimeOffset LearnedAt { get; set; }
    }

    /// <summary>Keeps what it fetched for as long as it may, and never fetches earlier.</summary>
    private sealed class Verifier
    {
        public HashSet<string> Kids { get; set; } = [];

        public DateTimeOffset FreshUntil { get; set; }
    }

    private sealed class World
    {
        public static readonly DateTimeOffset Beginning = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

        // As the trigger signing_key_gone_after has it.
        private static readonly TimeSpan GoneMargin = TimeSpan.FromMinutes(15);

        private static readonly TimeSpan Tick = TimeSpan.FromSeconds(55);

        private static readonly JsonElement NoJwk = JsonElement.Parse("{}");

        private readonly List<SigningKey> database = [];
        private readonly Replica[] replicas = [new(Initial), new(Initial)];
        private readonly Verifier[] verifiers = [new(), new(), new()];
        private readonly Dictionary<string, DateTimeOffset> lastExpiry = [];
        private readonly Random random = new(1);

        private DateTimeOffset now = Beginning;
        private TimeSpan lifetime = TimeSpan.FromMinutes(10);

        public KeyRing Ring => new(database);

        private static KeyPlan Initial => new("ES256", ["ES256"], TimeSpan.FromHours(2), TimeSpan.FromMinutes(5));

        public void Live(IEnumerable<Happening> history)
        {
            StartAll();
            foreach (var happening in history)
                Happen(happening);
            Run(TimeSpan.FromHours(1));
        }

        private void Happen(Happening happening)
        {
            switch (happening)
            {
                case Happening.Run run:
                    Run(run.Time);
                    break;
                case Happening.Down down:
                    now += down.Time;
                    StartAll();
                    break;
                case Happening.Clock clock:
                    replicas[clock.Replica].Offset = clock.Offset;
                    break;
                case Happening.Configure configure:
                    replicas[configure.Replica].Plan = configure.Plan;
                    Step(replicas[configure.Replica]);
                    break;
                case Happening.Restart restart:
                    Step(replicas[restart.Replica]);
                    break;
                case Happening.LongerTokens longer:
                    lifetime = longer.Lifetime;
                    break;
                case Happening.Rotate:
                    Rotate();
                    break;
                case Happening.Withdraw:
                    Withdraw();
                    break;
                default:
                    throw new InvalidOperationException($"{happening} cannot happen.");
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
                    // Mostly it learns soon; now and then as late as it may.
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
            for (var i = 0; replica.Plan.StepsAt(clock, Ring) is { Count: > 0 } steps; i++)
            {
                Hold(i < 20, "a plan does not end");
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
                    throw new InvalidOperationException($"{step} cannot be taken.");
            }
        }

        private void Change(string kid, Func<SigningKey, SigningKey> change)
        {
            var i = database.FindIndex(key => key.Kid == kid);
            var changed = change(database[i]);
            database[i] = changed with { GoneAfter = changed.SignsUntil + changed.MaxTokenLifetime + GoneMargin };
        }

        // What the function rotate_signing_key does.
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

        // What the function withdraw_signing_key does, to a key whose successor every verifier has. Its own tokens are lost, no other's.
        private void Withdraw()
        {
            var signing = Ring.SigningOf("ES256", now);
            if (signing is null || !database.Exists(key => key.SignsFrom == signing.SignsUntil && key.KnownFrom <= now))
                return;

            Change(signing.Kid, key => key with { WithdrawnAt = now });
            lastExpiry.Remove(signing.Kid);
            StartAll(); // they are notified
        }

        private void Sign(Replica replica)
        {
            var clock = now + replica.Offset;
            foreach (var algorithm in replica.Plan.Wanted)
            {
                var key = replica.Ring.SigningAt(clock, algorithm, replica.Plan.Default);
                Hold(key is not null, $"nothing signs at {clock:u}");
                Hold(key!.IsPublishedAt(clock), $"{key.Kid} signs unpublished at {clock:u}");

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
                Hold(verifier.Kids.Contains(kid), $"at {now:u} a token of {kid} that lives until {expiry:u} does not verify");
        }

        // An exception, since NUnit would count each assertion that fails while FsCheck looks for a smaller history.
        private static void Hold(bool holds, string otherwise)
        {
            if (!holds)
                throw new InvalidOperationException(otherwise);
        }

        private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;

        private static TimeSpan Longer(TimeSpan a, TimeSpan b) => a > b ? a : b;
    }
}
