using System.Threading.Channels;

namespace TokenService.Secrets;

/// <summary>
/// MACs of verified secrets that wait to be written to the database. When it is full, a new one is dropped: its secret
/// is hashed again after the next start.
/// </summary>
internal sealed class VerifiedSecretQueue
{
    private const int MaxWaiting = 50_000; // about 150 bytes each

    private readonly Channel<(string SecretId, KeptMac Mac)> waiting = Channel.CreateBounded<(string, KeptMac)>(
        new BoundedChannelOptions(MaxWaiting) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    public void Add(string secretId, KeptMac mac) => waiting.Writer.TryWrite((secretId, mac));

    /// <summary>Waits until there is one.</summary>
    public async Task WaitAsync(CancellationToken ct) => await waiting.Reader.WaitToReadAsync(ct);

    /// <summary>Takes up to so many, the last one of each secret.</summary>
    public IReadOnlyDictionary<string, KeptMac> Take(int maxCount)
    {
        var taken = new Dictionary<string, KeptMac>(StringComparer.Ordinal);
        while (taken.Count < maxCount && waiting.Reader.TryRead(out var next))
            taken[next.SecretId] = next.Mac;
        return taken;
    }
}
