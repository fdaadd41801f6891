using System.Diagnostics.Metrics;

namespace TokenService.Telemetry;

/// <summary>The instruments of this server, on the meter <c>TokenService</c>.</summary>
internal sealed class Metrics
{
    public const string MeterName = "TokenService";

    private readonly Meter meter;

    private readonly Counter<long> eventsDropped;

    public Metrics(IMeterFactory meters)
    {
        meter = meters.Create(MeterName);
        eventsDropped = meter.CreateCounter<long>(
            "token_service.events.dropped",
            "{event}",
            "Events of requests that are lost: the queue was full, or they could not be written.");
    }

    public void EventsDropped(int count) => eventsDropped.Add(count);

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

    /// <param name="count">Secrets used within the last day that end within 14 days.</param>
    public void ObserveEndingSecrets(Func<int> count) => meter.CreateObservableGauge(
        "token_service.client_secret.ending", count, "{secret}", "Secrets that are in use and end within 14 days.");

    private void Gauge(string name, string description, Func<double?> seconds) =>
        meter.CreateObservableGauge(
            name,
            () => seconds() is { } value ? [new Measurement<double>(value)] : Array.Empty<Measurement<double>>(),
            "s",
            description);
}
