namespace TokenService.Postgres;

/// <summary>
/// A cancellation token for the database driver, cancelled by another token or after a time. When a connection breaks
/// at the moment of a cancellation, Npgsql's cancellation callback throws. In a timer that exception would end the
/// process, and in a host that stops it would disturb the stop, so this class catches it.
/// </summary>
internal sealed class QuietCancellation : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly CancellationTokenRegistration registration;
    private readonly ITimer? timer;

    /// <param name="other">The token that cancels this one.</param>
    public QuietCancellation(CancellationToken other) => registration = other.Register(Cancel);

    /// <param name="time">The time after which this token is cancelled.</param>
    /// <param name="clock">Measures the time.</param>
    /// <param name="other">A token that cancels this one, too.</param>
    public QuietCancellation(TimeSpan time, TimeProvider clock, CancellationToken other = default)
        : this(other) => timer = clock.CreateTimer(_ => Cancel(), null, time, Timeout.InfiniteTimeSpan);

    public CancellationToken Token => source.Token;

    public void Cancel()
    {
        try
        {
            source.Cancel();
        }
        catch (Exception e) when (e is AggregateException or ObjectDisposedException)
        {
            // Either the token is cancelled in spite of the exception, or it was disposed and has no user left.
        }
    }

    public void Dispose()
    {
        timer?.Dispose();
        registration.Dispose();
        source.Dispose();
    }
}
