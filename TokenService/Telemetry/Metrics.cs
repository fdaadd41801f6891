using System.Diagnostics.Metrics;

namespace TokenService.Telemetry;

/// <summary>The instruments of this server, on the meter <c>TokenService</c>.</summary>
internal sealed class Metrics
{
    public const string MeterName = "TokenService";

    private readonly Meter meter;

    private readonly Counter<long> eventsDropped;
    private readonly Counter<long> replays;
    private readonly Counter<long> challenges;
    private readonly Histogram<int> usedIdBatchSize;
    private readonly Histogram<double> usedIdBatchTime;

    public Metrics(IMeterFactory meters)
    {
        meter = meters.Create(MeterName);
        eventsDropped = meter.CreateCounter<long>(
            "token_service.events.dropped",
            "{event}",
            "Events of requests that are lost: the queue was full, or they could not be written.");
        replays = meter.CreateCounter<long>(
            "token_service.replays", "{request}", "Assertions and DPoP proofs that were refused because they were used before.");
        challenges = meter.CreateCounter<long>(
            "token_service.dpop.challenges", "{request}", "DPoP proofs without a fresh nonce, which were answered with one.");
        usedIdBatchSize = meter.CreateHistogram<int>(
            "token_service.used_jti.batch_size", "{assertion}", "Assertions that one statement recorded as used.");
        usedIdBatchTime = meter.CreateHistogram<double>(
            "token_service.used_jti.duration", "s", "The time that the database took to record assertions as used.");
    }

    public void EventsDropped(int count) => eventsDropped.Add(count);

    /// <param name="kind">The statement that was sent again: <c>assertion</c> or <c>dpop_proof</c>.</param>
    public void Replayed(string kind) => replays.Add(1, new KeyValuePair<string, object?>("kind", kind));

    public void NonceDemanded() => challenges.Add(1);

    public void UsedIdsRecorded(int count, TimeSpan duration)
    {
        usedIdBatchSize.Record(count);
        usedIdBatchTime.Record(duration.TotalSeconds);
    }

    /// <param name="age">Seconds since the signing key began to sign; null: there is no key.</param>
    /// <param name="untilNextStep">Seconds until the next key begins to sign; null: there is no next key.</param>
    public void ObserveSigningKeys(Func<double?> age, Func<double?> untilNextStep)
    {
        Gauge("token_service.signing_key.age", "Since the signing key began to sign.", age);
        Gauge("token_service.signing_key.time_to_next_step", "Until the next key begins to sign.", untilNextStep);
    }

    /// <param name="age">
    /// How old a client served from the cache may be, in seconds: 0 while notifications arrive.
    /// </param>
    public void ObserveClients(Func<double> age) => Gauge(
        "token_service.clients.age", "How old a client served from the cache may be.", () => age());

    /// <param name="count">Requests whose body has arrived and whose answer is not known yet.</param>
    public void ObserveRequestsInFlight(Func<int> count) => meter.CreateObservableGauge(
        "token_service.requests_in_flight",
        count,
        "{request}",
        "Requests whose body has arrived and whose answer is not known yet.");

    /// <param name="count">Open connections.</param>
    public void ObserveConnections(Func<int> count) => meter.CreateObservableGauge(
        "token_service.connections", count, "{connection}", "Open connections, idle ones included.");

    /// <param name="secrets">Secrets used within the last day that end within 14 days.</param>
    /// <param name="keys">The same of client keys.</param>
    public void ObserveEndingCredentials(Func<int> secrets, Func<int> keys)
    {
        meter.CreateObservableGauge(
            "token_service.client_secret.ending", secrets, "{secret}", "Secrets that are in use and end within 14 days.");
        meter.CreateObservableGauge("token_service.client_key.ending", keys, "{key}", "Client keys that are in use and end within 14 days.");
    }

    private void Gauge(string name, string description, Func<double?> seconds) =>
        meter.CreateObservableGauge(
            name,
            () => seconds() is { } value ? [new Measurement<double>(value)] : Array.Empty<Measurement<double>>(),
            "s",
            description);
}
