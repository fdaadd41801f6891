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
/// Two replicas on one database issue tokens all the time. Two verifiers check each token from its issue until it
/// expires: an API with ASP.NET Core's JwtBearer, and a verifier that keeps the JWKS for as long as it may and never
/// fetches earlier.
/// </summary>
[TestFixture]
public sealed class KeyRotationAtVerifiers
{
    // The id of the old sealing key with the value of a key that sealed nothing.
    private const string ReplacedOldSealingKey = "Keys:SealingKeys:test=YSBzZWFsaW5nIGtleSB0aGF0IHNlYWxlZCBub3RoaW4=";
    private const string NewSealingKey = "Keys:SealingKeys:new=YW5vdGhlci1zZWFsaW5nLWtleS1vZi10ZXN0cy0zMmI=";

    [Test]
    public async Task Tokens_verify_throughout_ten_rotations()
    {
        await using var cluster = await Cluster.StartAsync();

        await cluster.RunUntilAsync(() => cluster.KeysThatSigned.Count == 11);

        Assert.That(cluster.Failures, Is.Empty);
    }

    [TestCase(30)]
    [TestCase(-30)]
    public async Task Tokens_verify_throughout_ten_rotations_with_a_replica_whose_clock_differs(int seconds)
    {
        await using var cluster = await Cluster.StartAsync(TimeSpan.FromSeconds(seconds));

        await cluster.RunUntilAsync(() => cluster.KeysThatSigned.Count == 11);

        Assert.That(cluster.Failures, Is.Empty);
    }

    [Test]
    public async Task Tokens_verify_throughout_a_change_of_algorithm()
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
    public async Task Tokens_verify_throughout_a_change_of_the_sealing_key_and_the_removal_of_the_old_one()
    {
        await using var cluster = await Cluster.StartAsync();

        // 1. Every replica has both sealing keys. 2. The new one is current. 3. All keys are resealed. 4. The old one
        // is removed.
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
            await cluster.RestartAsync(replica, NewSealingKey, "Keys:SealingKeyId=new", ReplacedOldSealingKey);
        await cluster.RunAsync(TimeSpan.FromHours(3));

        Assert.That(cluster.Failures, Is.Empty);
    }

    [Test]
    public async Task Withdrawing_a_key_invalidates_only_the_tokens_that_it_signed()
    {
        await using var cluster = await Cluster.StartAsync(settings: "Keys:SigningPeriod=05:00:00");
        // The next key was published long ago, and tokens live longer than the verifiers' caches.
        await cluster.Database.ExecuteAsync("update token_service.client set token_lifetime_seconds = 7200");
        await cluster.RunAsync(TimeSpan.FromMinutes(150));
        var withdrawn = cluster.LastToken.Kid;

        await cluster.Database.WithdrawKeyAsync(withdrawn, cluster.Now);
        await cluster.RunAsync(TimeSpan.FromHours(3));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(cluster.Failures.Select(failure => failure.Kid).Distinct(), Is.EqualTo([withdrawn]));
            Assert.That(await cluster.Database.ReadAsync<bool>(
                "select sealed_private_key is null from token_service.signing_key where kid = @withdrawn", new { withdrawn }));
        }
    }

    [Test]
    public async Task A_replica_without_notifications_keeps_up_with_rotations()
    {
        await using var cluster = await Cluster.StartAsync();
        cluster.ReplicaWithoutNotifications = 1;

        await cluster.RunUntilAsync(() => cluster.KeysThatSigned.Count == 4);

        Assert.That(cluster.Failures, Is.Empty);
    }

    private sealed record Failure(string Kid, DateTimeOffset At, string Verifier, string Why);

    private sealed class Cluster : IAsyncDisposable
    {
        private static readonly TimeSpan Tick = TimeSpan.FromMinutes(9);

        private static readonly TimeSpan MaxTime = TimeSpan.FromHours(20);

        // Short periods and a long max-age: a key signs soon after the first verifier can know it.
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

        /// <summary>The replica whose listening connection is cut before each step; null: none.</summary>
        public int? ReplicaWithoutNotifications { get; set; }

        public List<Failure> Failures { get; } = [];

        public HashSet<string> KeysThatSigned { get; } = [];

        public JsonWebToken LastToken => alive[^1];

        public IEnumerable<string> PublishedAlgorithms =>
            Replicas[0].Services.GetRequiredService<SigningKeys>().Ring.PublishedAt(clocks[0].GetUtcNow())
                .Select(key => key.Algorithm).Distinct();

        /// <param name="offset">The second replica's clock minus the first's.</param>
        /// <param name="settings">Further settings of both replicas, until they are restarted with other
        /// settings.</param>
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
                Assert.That(time, Is.LessThan(MaxTime), "the condition was not reached in time");
                await CutListeningConnectionAsync();
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

        /// <summary>A client whose requests go to the replicas in turn, as through a load balancer.</summary>
        public HttpClient BalancedClient() => new(new Balancer(this));

        public DateTimeOffset Now => clocks[0].GetUtcNow();

        public FakeClock Clock => clocks[0];

        private Task<TestServer> StartReplicaAsync(int i, string[] settings) =>
            TestServer.StartAsync($"{Database.ConnectionString};Application Name=replica-{i}", clocks[i], [.. Settings, .. settings]);

        // The test takes the step that the replica's own loop takes at each poll, so that the test knows when it is
        // done. A replica without notifications is left to its own poll; the test waits until it has learnt what the
        // other replica knows.
        private async Task StepAsync(int replica)
        {
            if (ReplicaWithoutNotifications != replica)
            {
                await Replicas[replica].Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);
                return;
            }

            await Soon.IsAsync(
                "the replica knows the keys that the other knows",
                () => KeysOf(replica).SequenceEqual(KeysOf(1 - replica)));
        }

        private IEnumerable<(string, DateTimeOffset?)> KeysOf(int replica) =>
            Replicas[replica].Services.GetRequiredService<SigningKeys>().Ring.Keys.Select(key => (key.Kid, key.SignsUntil));

        private Task CutListeningConnectionAsync() => ReplicaWithoutNotifications is { } replica
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
        /// <returns>Why the verifier refuses the token; null: it accepts it.</returns>
        public Task<string?> RefusesAsync(string token);
    }

    // The library takes the time only through this delegate. The leeway is a minute, as in most APIs.
    private static LifetimeValidator Lifetime(Cluster cluster) =>
        (_, expires, _, _) => cluster.Now < expires + TimeSpan.FromMinutes(1);

    private sealed class PatientVerifier(Cluster cluster) : IVerifier
    {
        private readonly HttpClient http = cluster.BalancedClient();
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
            new(await ProtectedApi.StartAsync(TestServer.Issuer, new Balancer(cluster), configure: options =>
            {
                var configuration = (ConfigurationManager<OpenIdConnectConfiguration>)options.ConfigurationManager!;
                // The ratio to the signing period here is about that of the defaults: 12 hours to 30 days.
                configuration.AutomaticRefreshInterval =
                    ConfigurationManager<OpenIdConnectConfiguration>.MinimumAutomaticRefreshInterval;
                TimeOf(configuration) = cluster.Clock;
                options.TokenValidationParameters.LifetimeValidator = Lifetime(cluster);
            }));

        public async Task<string?> RefusesAsync(string token) =>
            (await api.GetAsync($"Bearer {token}")).Status == 200 ? null : $"{api.Failure?.Message}";

        public ValueTask DisposeAsync() => api.DisposeAsync();

        // The library's clock is a private field.
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
