using System.Net;
using TokenService.Tests.Harness;
using TokenService.Usage;

namespace TokenService.Tests.Usage;

/// <summary>Counting goes on while the counts are read and taken off, and loses none.</summary>
[TestFixture]
public sealed class TallyOfUses
{
    [Test]
    public void The_first_use_is_not_after_the_last_though_the_clock_is_set_back()
    {
        var clock = new FakeClock();
        var tally = new UsageCounters(clock);
        var later = clock.GetUtcNow();
        tally.SecretUsed("first", IPAddress.Loopback);
        clock.Advance(TimeSpan.FromSeconds(-5));
        tally.SecretUsed("first", IPAddress.IPv6Loopback);

        Assert.That(tally.Read().Secrets, Is.EqualTo(
            [new Use<SecretKey>(new SecretKey("first"), 2, later - TimeSpan.FromSeconds(5), later, IPAddress.Loopback)]));
    }

    [Test]
    public async Task Every_use_is_written_once()
    {
        const int Threads = 4;
        const int Each = 50_000;
        string[] secrets = ["first", "second", "third"];
        string[] granted = ["read", "write"];
        var tally = new UsageCounters(TimeProvider.System);
        var sum = new Dictionary<string, long>();

        var counting = Task.WhenAll(Enumerable.Range(0, Threads).Select(_ => Task.Factory.StartNew(
            () =>
            {
                for (var i = 0; i < Each; i++)
                {
                    tally.SecretUsed(secrets[i % secrets.Length], IPAddress.Loopback);
                    tally.ScopesUsed("billing", granted);
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        while (!counting.IsCompleted)
            TakeOff();
        await counting;
        TakeOff();

        Assert.That(sum.Values.Sum(), Is.EqualTo(Threads * Each * 3));
        Assert.That(sum["billing read"], Is.EqualTo(Threads * Each));
        Assert.That(secrets.Sum(secret => sum[secret]), Is.EqualTo(Threads * Each));

        void TakeOff()
        {
            var uses = tally.Read();
            foreach (var use in uses.Secrets)
                sum[use.Of.SecretId] = sum.GetValueOrDefault(use.Of.SecretId) + use.Count;
            foreach (var use in uses.Scopes)
                sum[$"{use.Of.ClientId} {use.Of.Scope}"] = sum.GetValueOrDefault($"{use.Of.ClientId} {use.Of.Scope}") + use.Count;
            tally.Written(uses);
        }
    }

    [Test]
    public void What_was_not_written_is_still_there()
    {
        var tally = new UsageCounters(new FakeClock());
        tally.SecretUsed("secret", IPAddress.Loopback);
        tally.Read();
        tally.SecretUsed("secret", IPAddress.IPv6Loopback);

        var use = tally.Read().Secrets.Single();
        Assert.That((use.Of.SecretId, use.Count, use.LastFrom), Is.EqualTo(("secret", 2, IPAddress.IPv6Loopback)));
    }
}
