using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7523;

/// <summary>The instruments by which an operator sees replays, challenges and the cost of recording used assertions.</summary>
[TestFixture]
public sealed class Measurements : AssertionFixture
{
    private readonly ConcurrentQueue<(string Instrument, double Value, string? Kind)> measured = [];
    private MeterListener listener = null!;

    private protected override string[] Settings => ["Dpop:Nonce=Required"];

    [OneTimeSetUp]
    public void Listen()
    {
        // A test run has many servers; the scope is this server's.
        var meters = Server.Services.GetRequiredService<IMeterFactory>();
        listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Scope == meters)
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Keep(instrument, value, tags));
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Keep(instrument, value, tags));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Keep(instrument, value, tags));
        listener.Start();
    }

    [OneTimeTearDown]
    public void StopListening() => listener.Dispose();

    [SetUp]
    public void Forget() => measured.Clear();

    [Test]
    public async Task A_recorded_assertion_is_measured_with_its_batch()
    {
        await IsGrantedAsync(Assertion());

        Assert.That(Of("token_service.used_jti.batch_size"), Is.EqualTo([(1.0, (string?)null)]));
        Assert.That(Of("token_service.used_jti.duration"), Is.EqualTo([(0.0, (string?)null)]), "the clock stands still");
        Assert.That(Of("token_service.replays"), Is.Empty);
    }

    [Test]
    public async Task A_replay_is_counted_by_its_kind()
    {
        var jwt = Assertion().Signed();
        (await SendAsync(jwt)).IsGrant();
        (await SendAsync(jwt)).IsInvalidClient();
        Assert.That(Of("token_service.replays"), Is.EqualTo([(1.0, "assertion")]));

        var challenge = await ProveAsync(SignedJwt.Proof(Server, Key).Signed());
        var proof = SignedJwt.Proof(Server, Key).WithClaim("nonce", challenge.Headers["DPoP-Nonce"]).Signed();
        Assert.That((await ProveAsync(proof)).Status, Is.EqualTo(200));
        Assert.That((await ProveAsync(proof)).Status, Is.EqualTo(400));

        Assert.That(Of("token_service.replays"), Is.EqualTo([(1.0, "assertion"), (1.0, "dpop_proof")]));
        Assert.That(Of("token_service.dpop.challenges"), Is.EqualTo([(1.0, (string?)null)]));
    }

    private Task<Answer> ProveAsync(string proof) => TokenRequestBuilder.For(Client).WithHeader("DPoP", proof).SendAsync(Server);

    private void Keep(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        measured.Enqueue((instrument.Name, value, tags.IsEmpty ? null : (string?)tags[0].Value));

    private IEnumerable<(double Value, string? Kind)> Of(string instrument) =>
        measured.Where(one => one.Instrument == instrument).Select(one => (one.Value, one.Kind));
}
