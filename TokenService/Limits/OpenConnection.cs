namespace TokenService.Limits;

/// <summary>
/// One open connection, as <see cref="ConnectionLimit"/> knows it. A connection works while a request on it is in
/// flight. All other time it only waits for its peer, and may be closed to make room for another. HTTP/2 carries several
/// requests at once on a connection, so their number is counted. Requests take no lock here.
/// </summary>
/// <param name="limit">Counts this connection.</param>
/// <param name="clock">The server's clock.</param>
/// <param name="abort">Closes the connection at once. It must not throw.</param>
internal sealed class OpenConnection(ConnectionLimit limit, TimeProvider clock, Action abort)
{
    // Added to the number of requests when the connection is closed, so that no request begins any more.
    private const int Closed = int.MinValue;

    private int working;
    private long idleSince = clock.GetTimestamp();
    private volatile bool isKnown;

    /// <summary>True while no request on this connection is in flight.</summary>
    public bool IsIdle => Volatile.Read(ref working) == 0;

    /// <summary>
    /// The time, as a timestamp of the clock, at which the last request ended; at first, the time of the connection.
    /// </summary>
    public long IdleSince => Volatile.Read(ref idleSince);

    /// <summary>A request on this connection is in flight from now on.</summary>
    /// <returns>
    /// True: the caller must call <see cref="EndWork"/> later. False: the connection is being closed.
    /// </returns>
    public bool TryBeginWork() => Interlocked.Increment(ref working) > 0;

    public void EndWork()
    {
        Volatile.Write(ref idleSince, clock.GetTimestamp());
        Interlocked.Decrement(ref working);
    }

    /// <summary>A client has authenticated on this connection, so strangers' connections are closed before it.</summary>
    public void SetKnown()
    {
        if (isKnown)
            return;
        isKnown = true;
        limit.SetKnown(this);
    }

    /// <summary>Ends the use of an idle connection. False: a request has just begun on it.</summary>
    public bool TryClose() => Interlocked.CompareExchange(ref working, Closed, 0) == 0;

    /// <summary>Closes the connection, after <see cref="TryClose"/>.</summary>
    public void Abort() => abort();
}
