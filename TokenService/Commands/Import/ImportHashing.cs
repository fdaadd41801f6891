using System.Runtime.CompilerServices;
using System.Threading.Channels;
using TokenService.Configuration;
using TokenService.Secrets;

namespace TokenService.Commands;

/// <summary>
/// Hashes many secrets on some threads of its own, so that an import takes little longer than its hashes. Each thread
/// has the memory of one hash at a time. At most a few dozen digests wait to be written.
/// </summary>
internal sealed class ImportHashing(SecretHasher hasher, Argon2Cost cost, int threads)
{
    private const int MaxWaiting = 64;

    /// <summary>The digests, in the order in which they are ready.</summary>
    /// <param name="items">The items with secrets to hash.</param>
    /// <param name="secretOf">The secret of an item.</param>
    /// <param name="ct">Ends the threads after the hashes that they compute.</param>
    public async IAsyncEnumerable<(T Item, Argon2Digest Digest)> HashAsync<T>(
        IReadOnlyList<T> items, Func<T, string> secretOf, [EnumeratorCancellation] CancellationToken ct)
    {
        var digests = Channel.CreateBounded<(T, Argon2Digest)>(MaxWaiting);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var (next, running) = (-1, threads);
        for (var i = 0; i < threads; i++)
            new Thread(Work) { IsBackground = true, Name = "import hashing" }.Start();
        try
        {
            await foreach (var digest in digests.Reader.ReadAllAsync(ct))
                yield return digest;
        }
        finally
        {
            await stop.CancelAsync();
        }

        void Work()
        {
            Exception? failure = null;
            try
            {
                for (int i; !stop.IsCancellationRequested && (i = Interlocked.Increment(ref next)) < items.Count;)
                {
                    var digest = hasher.Hash(secretOf(items[i]), cost)
                        ?? throw new OperatorException($"There is not enough memory for {threads} digests at once. Try fewer: --cores 1");
                    digests.Writer.WriteAsync((items[i], digest), stop.Token).AsTask().GetAwaiter().GetResult();
                }
            }
            catch (OperationCanceledException)
            {
                // The reader has ended.
            }
            catch (Exception e)
            {
                failure = e;
            }

            if (Interlocked.Decrement(ref running) == 0 || failure is not null)
                digests.Writer.TryComplete(failure);
        }
    }
}
