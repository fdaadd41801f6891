using System.Runtime.CompilerServices;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>
/// Two replicas on one database issue tokens all the time, while two verifiers check each from its issue until it is dead: one
/// an API with ASP.NET Core's JwtBearer, one that keeps the JWKS for as long as it may and never fetches earlier.
/// </summary>
[TestFixture]
public sealed class KeyRotationAtVerifiers
{
    private const string LostSealingKey = "Keys:SealingKeys:test=YSBzZWFsaW5nIGtleSB0aGF0IHNlYWxlZCBub3RoaW4=";
    private const string NewSealingKey = "Keys:SealingKeys:new=YW5vdGhlci1zZWFsaW5nLWtleS1vZi10ZXN0cy0zMmI=";

    [Test]
    public async Task Ten_rotations_pass_without_a_failure()
    {
        await using var cluster = await Cluster.StartAsync();

        await cluster.RunUntilAsync(() => cluster.KeysThatSigned.Count == 11);

        Assert.That(cluster.Failures, Is.Empty);
    }

    [TestCase(30)]
    [TestCase(-30)]
    public async Task Ten_rotations_pass_with_a_replica_whose_clock_differs(int seconds)
    {
        await using var cluster = await Cluster.StartAsync(TimeSpan.FromSeconds(seconds));

        await cluster.RunUntilAsync(() => cluster.KeysThatSigned.Count == 11);

        Assert.That(cluster.Failures, Is.Empty);
    }

    [Test]
    public async Task Another_algorithm_comes_in_without_a_failure()
    {
        await using var cluster = await Cluster.StartAsync();
        await cluster.RunAsync(TimeSpan.FromHours(2));

        await cluster.RestartAsync(0, "Keys:Algorithm=PS256");
        await cluster.RunAsync(TimeSpan.FromMinutes(30));
        await cluster.RestartAsync(1, "Keys:Algorithm=PS256");
        await cluster.RunAsync(TimeSpan.FromHours(4));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(cluster.Failures, Is.Empty);
            Assert.That(cluster.LastToken.Alg, Is.EqualTo("PS256"));
            Assert.That(cluster.PublishedAlgorithms, Is.EqualTo(["PS256"]));
        }
    }

    [Test]
    public async Task A_new_sealing_key_comes_in_without_a_failure_and_the_old_one_can_go()
    {
        await using var cluster = await Cluster.StartAsync();

        // First every replica has both keys, then the new one is current, then all is sealed anew, then the old one goes.
        foreach (var settings in new string[][]
        {
            [NewSealingKey, "Keys:SealingKeyId=test"],
            [NewSealingKey, "Keys:SealingKeyId=new"],
        })
        {
            await cluster.RestartAsync(0, settings);
            await cluster.RunAsync(TimeSpan.FromMinutes(90));
            await cluster.RestartAsync(1, settings);
            await cluster.RunAsync(TimeSpan.FromMinutes(90));
        }

        await cluster.Replicas[0].Services.GetRequiredService<SigningKeyStore>().ResealAsync(CancellationToken.None);
        foreach (var replica in new[] { 0, 1 })
            await cluster.RestartAsync(replica, NewSealingKey, "Keys:SealingKeyId=new", LostSealingKey);
        await cluster.RunAsync(TimeSpan.FromHours(3));

        Assert.That(cluster.Failures, Is.Empty);
    }

    [Test]
    public async Task A_withdrawn_key_takes_only_its_own_tokens_with_it()
    {
        await using var cluster = await Cluster.StartAsync(settings: "Keys:SigningPeriod=05:00:00");
        // The next key has long been published, and tokens outlive what the verifiers keep.
        await cluster.Database.ExecuteAsync("update token_service.client set token_lifetime_seconds = 7200");
        await cluster.RunAsync(TimeSpan.FromMinutes(150));
        var withdrawn = cluster.LastToken.Kid;

        await cluster.Database.ExecuteAsync(
            "select token_service.withdraw_signing_key(@withdrawn, @now)", new { withdrawn, now = cluster.Now.UtcDateTime });
        await cluster.RunAsync(TimeSpan.FromHours(3));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(cluster.Failures.Select(failure => failure.Kid).Distinct(), Is.EqualTo([withdrawn]));
            Assert.That(await cluster.Database.ReadAsync<bool>(
                "select sealed_private_key is null from token_service.signing_key where kid = @withdrawn", new { withdrawn }));
        }
    }

    [Test]
    public async Task A_replica_that_hears_no_notification_keeps_up()
    {
        await using var cluster = await Cluster.StartAsync();
        cluster.Deafened = 1;

        await cluster.RunUntilAsync(() => cluster.KeysThatSigned.Count == 4);

        Assert.That(cluster.Failures, Is.Empty);
    }

    private sealed record Failure(string Kid, DateTimeOffset At, string Verifier, string Why);

    private sealed class Cluster : IAsyncDisposable
    {
        private static readonly TimeSpan Tick = TimeSpan.FromMinutes(9);

        private static readonly TimeSpan Most = TimeSpan.FromHours(20);

        // Short periods and a long max-age: every key is needed soon after the first verifier can have it.
        private static readonly string[] Settings = ["Keys:SigningPeriod=01:00:00", "Keys:JwksMaxAge=01:00:00"];

        private readonly FakeClock[] clocks;
        private readonly List<JsonWebToken> alive = [];
        private readonly List<IVerifier> verifiers = [];

        private Cluster(Database database, TestClient client, FakeClock[] clocks)
        {
            Database = database;
            Client = client;
            this.clocks = clocks;
            Replicas = new TestServer[clocks.Length];
        }

        public Database Database { get; }

        public TestClient Client { get; }

        public TestServer[] Replicas { get; }

        /// <summary>A replica whose listening connection is cut before anything happens; null: none.</summary>
        public int? Deafened { get; set; }

        public List<Failure> Failures { get; } = [];

        public HashSet<string> KeysThatSigned { get; } = [];

        public JsonWebToken LastToken => alive[^1];

        public IEnumerable<string> PublishedAlgorithms =>
            Replicas[0].Services.GetRequiredService<SigningKeys>().Ring.PublishedAt(clocks[0].GetUtcNow())
                .Select(key => key.Algorithm).Distinct();

        /// <param name="offset">How far the second replica's clock is from the first's.</param>
        /// <param name="settings">Further settings, of each replica as long as it is not restarted with others.</param>
        public static async Task<Cluster> StartAsync(TimeSpan offset = default, params string[] settings)
        {
            var database = await Database.CreateAsync();
            var clocks = new[] { new FakeClock(), new FakeClock(offset) };
            var cluster = new Cluster(database, await database.CreateClientAsync("billing"), clocks);
            for (var i = 0; i < clocks.Length; i++)
                cluster.Replicas[i] = await cluster.StartReplicaAsync(i, settings);
            cluster.verifiers.Add(new PatientVerifier(cluster));
            cluster.verifiers.Add(await JwtBearerVerifier.StartAsync(cluster));
            return cluster;
        }

        public async Task RestartAsync(int replica, params string[] settings)
        {
            await Replicas[replica].DisposeAsync();
            Replicas[replica] = await StartReplicaAsync(replica, settings);
        }

        public Task RunAsync(TimeSpan time)
        {
            var until = clocks[0].GetUtcNow() + time;
            return RunUntilAsync(() => clocks[0].GetUtcNow() >= until);
        }

        public async Task RunUntilAsync(Func<bool> reached)
        {
            for (var time = TimeSpan.Zero; !reached(); time += Tick)
            {
                Assert.That(time, Is.LessThan(Most), "it is never reached");
                await DeafenAsync();
                foreach (var clock in clocks)
                    clock.Advance(Tick);
                for (var i = 0; i < Replicas.Length; i++)
                    await StepAsync(i);
                foreach (var replica in Replicas)
                    await IssueAsync(replica);
                await VerifyAsync();
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var verifier in verifiers.OfType<IAsyncDisposable>())
                await verifier.DisposeAsync();
            foreach (var replica in Replicas)
                await replica.DisposeAsync();
            await Database.DisposeAsync();
        }

        /// <summary>Talks to the replicas in turn, as through a load balancer.</summary>
        public HttpClient Balanced() => new(new Balancer(this));

        public DateTimeOffset Now => clocks[0].GetUtcNow();

        public FakeClock Clock => clocks[0];

        private Task<TestServer> StartReplicaAsync(int i, string[] settings) =>
            TestServer.StartAsync($"{Database.ConnectionString};Application Name=replica-{i}", clocks[i], [.. Settings, .. settings]);

        // The step that the replica's own loop takes at each poll; here, so that we know when it is done. Only of a replica that
        // hears nothing the loop is left alone with its poll, and waited for until it knows what the database knows.
        private async Task StepAsync(int replica)
        {
            if (Deafened != replica)
            {
                await Replicas[replica].Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);
                return;
            }

            await Soon.IsAsync("it knows what the other knows", () => KeysOf(replica).SequenceEqual(KeysOf(1 - replica)));
        }

        private IEnumerable<(string, DateTimeOffset?)> KeysOf(int replica) =>
            Replicas[replica].Services.GetRequiredService<SigningKeys>().Ring.Keys.Select(key => (key.Kid, key.SignsUntil));

        private Task DeafenAsync() => Deafened is { } replica
            ? Database.ExecuteAsync(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = @name and query like 'listen %'",
                new { name = $"replica-{replica}" })
            : Task.CompletedTask;

        private async Task IssueAsync(TestServer replica)
        {
            var answer = await TokenRequestBuilder.For(Client).SendAsync(replica);
            Assert.That(answer.Status, Is.EqualTo(200), answer.Body);
            alive.Add(answer.Token);
            KeysThatSigned.Add(answer.Token.Kid);
        }

        private async Task VerifyAsync()
        {
            alive.RemoveAll(token => token.ValidTo <= Now.UtcDateTime);
            foreach (var token in alive)
            {
                foreach (var verifier in verifiers)
                {
                    if (await verifier.RefusesAsync(token.EncodedToken) is { } why)
                        Failures.Add(new Failure(token.Kid, Now, verifier.GetType().Name, why));
                }
            }
        }
    }

    private interface IVerifier
    {
        /// <returns>Why it refuses a token; null: it does not.</returns>
        public Task<string?> RefusesAsync(string token);
    }

    // The library has no other way to be told the time. A minute of leeway, as APIs have.
    private static LifetimeValidator Lifetime(Cluster cluster) =>
        (_, expires, _, _) => cluster.Now < expires + TimeSpan.FromMinutes(1);

    private sealed class PatientVerifier(Cluster cluster) : IVerifier
    {
        private readonly HttpClient http = cluster.Balanced();
        private JsonWebKeySet keys = new();
        private DateTimeOffset freshUntil;

        public async Task<string?> RefusesAsync(string token)
        {
            if (cluster.Now >= freshUntil)
            {
                using var response = await http.GetAsync(new Uri($"{TestServer.Issuer}/.well-known/jwks.json"));
                keys = new JsonWebKeySet(await response.Content.ReadAsStringAsync());
                freshUntil = cluster.Now + response.Headers.CacheControl!.MaxAge!.Value;
            }

            var result = await new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
            {
                ValidIssuer = TestServer.Issuer,
                ValidAudience = "https://api.example.com",
                ValidTypes = ["at+jwt"],
                IssuerSigningKeys = keys.GetSigningKeys(),
                LifetimeValidator = Lifetime(cluster),
            });
            return result.IsValid ? null : result.Exception.Message;
        }
    }

    private sealed class JwtBearerVerifier(ProtectedApi api) : IVerifier, IAsyncDisposable
    {
        public static async Task<JwtBearerVerifier> StartAsync(Cluster cluster) =>
            new(await ProtectedApi.StartAsync(TestServer.Issuer, new Balancer(cluster), inItsTime: options =>
            {
                var configuration = (ConfigurationManager<OpenIdConnectConfiguration>)options.ConfigurationManager!;
                // In the proportion of its default, 12 hours, to a signing period of ours, 30 days.
                configuration.AutomaticRefreshInterval =
                    ConfigurationManager<OpenIdConnectConfiguration>.MinimumAutomaticRefreshInterval;
                TimeOf(configuration) = cluster.Clock;
                options.TokenValidationParameters.LifetimeValidator = Lifetime(cluster);
            }));

        public async Task<string?> RefusesAsync(string token) =>
            (await api.GetAsync($"Bearer {token}")).Status == 200 ? null : $"{api.Failure?.Message}";

        public ValueTask DisposeAsync() => api.DisposeAsync();

        // The library's clock is a field of its own that it does not show.
        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "TimeProvider")]
        private static extern ref TimeProvider TimeOf(ConfigurationManager<OpenIdConnectConfiguration> configuration);
    }

    private sealed class Balancer(Cluster cluster) : HttpMessageHandler
    {
        private int turn;

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var replica = cluster.Replicas[turn++ % cluster.Replicas.Length];
            return replica.Client.SendAsync(new HttpRequestMessage(request.Method, request.RequestUri!.PathAndQuery), cancellationToken);
        }
    }
}
