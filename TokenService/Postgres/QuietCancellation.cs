namespace TokenService.Postgres;

/// <summary>
/// A token for the database driver, cancelled when another is or when its time is up. When a connection breaks at the moment of a
/// cancellation, Npgsql throws out of its callback: into a host that is stopping, or into a timer, which ends the process. Here that ends.
/// </summary>
internal sealed class QuietCancellation : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly CancellationTokenRegistration registration;
    private readonly ITimer? timer;

    /// <param name="other">Cancels this one.</param>
    public QuietCancellation(CancellationToken other) => registration = other.Register(Cancel);

    /// <param name="time">Cancels this one when it is up.</param>
    /// <param name="clock">By which it is measured.</param>
    /// <param name="other">Cancels this one, too.</param>
    public QuietCancellation(TimeSpan time, TimeProvider clock, CancellationToken other = default)
        : this(other) => timer = clock.CreateTimer(_ => Cancel(), null, time, Timeout.InfiniteTimeSpan);

    public CancellationToken Token => source.Token;

    public void Dispose()
    {
        timer?.Dispose();
        registration.Dispose();
        source.Dispose();
    }

    private void Cancel()
    {
        try
        {
            source.Cancel();
        }
        catch (Exception e) when (e is AggregateException or ObjectDisposedException)
        {
            // The token is cancelled all the same, or nobody needs it any more.
        }
    }
}
