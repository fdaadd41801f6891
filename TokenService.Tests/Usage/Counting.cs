using System.Net;
using TokenService.Protocol;
using TokenService.Tests.Harness;
using TokenService.Usage;

namespace TokenService.Tests.Usage;

/// <summary>The counters lose no use, even while their counts are read and subtracted.</summary>
[TestFixture]
public sealed class Counting
{
    private static readonly CredentialId First = CredentialId.OfSecret("first");

    [Test]
    public void The_first_use_is_not_after_the_last_when_the_clock_is_set_back()
    {
        var clock = new FakeClock();
        var counters = new UsageCounters(clock);
        var later = clock.GetUtcNow();
        counters.CredentialUsed(First, IPAddress.Loopback);
        clock.Advance(TimeSpan.FromSeconds(-5));
        counters.CredentialUsed(First, IPAddress.IPv6Loopback);

        Assert.That(counters.Read().Credentials, Is.EqualTo(
            [new UsageCount<CredentialId>(First, 2, later - TimeSpan.FromSeconds(5), later, IPAddress.Loopback)]));
    }

    [Test]
    public async Task Every_use_is_written_once()
    {
        const int Threads = 4;
        const int Each = 50_000;
        string[] secrets = ["first", "second", "third"];
        string[] granted = ["read", "write"];
        var counters = new UsageCounters(TimeProvider.System);
        var sum = new Dictionary<string, long>();

        var counting = Task.WhenAll(Enumerable.Range(0, Threads).Select(_ => Task.Factory.StartNew(
            () =>
            {
                for (var i = 0; i < Each; i++)
                {
                    counters.CredentialUsed(CredentialId.OfSecret(secrets[i % secrets.Length]), IPAddress.Loopback);
                    counters.ScopesUsed("billing", "https://api.example.com", granted);
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        while (!counting.IsCompleted)
            Subtract();
        await counting;
        Subtract();

        Assert.That(sum.Values.Sum(), Is.EqualTo(Threads * Each * 3));
        Assert.That(sum["billing read"], Is.EqualTo(Threads * Each));
        Assert.That(secrets.Sum(secret => sum[secret]), Is.EqualTo(Threads * Each));

        void Subtract()
        {
            var usage = counters.Read();
            foreach (var count in usage.Credentials)
                sum[count.Key.Id] = sum.GetValueOrDefault(count.Key.Id) + count.Count;
            foreach (var count in usage.Scopes)
            {
                var scope = $"{count.Key.ClientId} {count.Key.Scope}";
                sum[scope] = sum.GetValueOrDefault(scope) + count.Count;
            }

            counters.Written(usage);
        }
    }

    // A credential of another kind may have the same id, and a scope of another resource the same name.
    [Test]
    public void Each_kind_of_credential_and_each_resource_is_counted_separately()
    {
        var counters = new UsageCounters(new FakeClock());
        counters.CredentialUsed(First, IPAddress.Loopback);
        counters.CredentialUsed(First with { Kind = "key" }, IPAddress.Loopback);
        counters.ScopesUsed("billing", "https://api.example.com", ["read"]);
        counters.ScopesUsed("billing", "https://ledger.example.com", ["read"]);

        var usage = counters.Read();
        Assert.That(
            usage.Credentials.Select(count => (count.Key.Kind, count.Key.Id, count.Count)),
            Is.EquivalentTo([("secret", "first", 1L), ("key", "first", 1L)]));
        Assert.That(
            usage.Scopes.Select(count => (count.Key, count.Count)),
            Is.EquivalentTo([
                (new ScopeKey("billing", "https://api.example.com", "read"), 1L),
                (new ScopeKey("billing", "https://ledger.example.com", "read"), 1L),
            ]));
    }

    [Test]
    public void Counts_that_were_not_written_are_kept()
    {
        var counters = new UsageCounters(new FakeClock());
        counters.CredentialUsed(First, IPAddress.Loopback);
        counters.Read();
        counters.CredentialUsed(First, IPAddress.IPv6Loopback);

        var count = counters.Read().Credentials.Single();
        Assert.That((count.Key, count.Count, count.LastFrom), Is.EqualTo((First, 2, IPAddress.IPv6Loopback)));
    }
}
