using System.Net;
using TokenService.Protocol;
using TokenService.Tests.Harness;
using TokenService.Usage;

namespace TokenService.Tests.Usage;

/// <summary>Counting goes on while the counts are read and taken off, and loses none.</summary>
[TestFixture]
public sealed class Counting
{
    private static readonly CredentialId First = CredentialId.OfSecret("first");

    [Test]
    public void The_first_use_is_not_after_the_last_though_the_clock_is_set_back()
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
                sum[$"{count.Key.ClientId} {count.Key.Scope}"] = sum.GetValueOrDefault($"{count.Key.ClientId} {count.Key.Scope}") + count.Count;
            counters.Written(usage);
        }
    }

    // A credential of another kind may have the same id, and a scope of another resource the same name.
    [Test]
    public void Each_kind_and_each_resource_is_counted_for_itself()
    {
        var counters = new UsageCounters(new FakeClock());
        counters.CredentialUsed(First, IPAddress.Loopback);
        counters.CredentialUsed(First with { Kind = "key" }, IPAddress.Loopback);
        counters.ScopesUsed("billing", "https://api.example.com", ["read"]);
        counters.ScopesUsed("billing", "https://ledger.example.com", ["read"]);

        var usage = counters.Read();
        Assert.That(
            usage.Credentials.Select(count => (count.Key.Kind, count.Key.Id, count.Count)), Is.EquivalentTo([("secret", "first", 1L), ("key", "first", 1L)]));
        Assert.That(
            usage.Scopes.Select(count => (count.Key, count.Count)),
            Is.EquivalentTo([
                (new ScopeKey("billing", "https://api.example.com", "read"), 1L), (new ScopeKey("billing", "https://ledger.example.com", "read"), 1L),
            ]));
    }

    [Test]
    public void What_was_not_written_is_still_there()
    {
        var counters = new UsageCounters(new FakeClock());
        counters.CredentialUsed(First, IPAddress.Loopback);
        counters.Read();
        counters.CredentialUsed(First, IPAddress.IPv6Loopback);

        var count = counters.Read().Credentials.Single();
        Assert.That((count.Key, count.Count, count.LastFrom), Is.EqualTo((First, 2, IPAddress.IPv6Loopback)));
    }
}
