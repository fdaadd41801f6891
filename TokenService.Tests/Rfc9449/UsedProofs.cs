using TokenService.Proofs;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9449;

/// <summary>The memory of ids that were used, of proofs and of assertions: bounded in time and number.</summary>
[TestFixture, Rfc(9449, "11.1")]
public sealed class UsedProofs
{
    private const int MaxCount = 100;

    private static readonly TimeSpan Time = TimeSpan.FromSeconds(90);

    private readonly FakeClock clock = new();
    private DateTimeOffset start;
    private ReplayMemory memory = null!;

    [SetUp]
    public void MakeMemory() => (start, memory) = (clock.GetUtcNow(), new ReplayMemory(MaxCount, Time, clock));

    [Test]
    public void An_id_is_remembered_for_the_time_at_least_and_forgotten_after_twice_the_time()
    {
        clock.Advance(Time / 2);
        Assert.That(memory.TryAdd(Id(1)), Is.True);

        clock.Advance(Time);
        Assert.That(memory.TryAdd(Id(1)), Is.False);

        clock.Advance(Time);
        Assert.That(memory.TryAdd(Id(1)), Is.True);
    }

    [Test]
    public void Too_many_ids_are_forgotten_the_oldest_first_and_the_memory_says_since_when_it_is_complete()
    {
        for (var i = 0; i < MaxCount; i++)
        {
            Assert.That(memory.TryAdd(Id(i)), Is.True);
            clock.Advance(TimeSpan.FromMilliseconds(1));
        }

        Assert.That(memory.IsCompleteSince, Is.EqualTo(start));
        Assert.That(memory.TryAdd(Id(MaxCount - 1)), Is.False);
        Assert.That(memory.IsCompleteSince, Is.EqualTo(start + TimeSpan.FromMilliseconds(MaxCount / 2)));
        Assert.That(memory.TryAdd(Id(MaxCount / 2)), Is.False, "it was added since");
        Assert.That(memory.TryAdd(Id(0)), Is.True, "it was added before");
    }

    [Test]
    public void An_id_that_was_not_used_after_all_is_forgotten_at_once()
    {
        memory.TryAdd(Id(1));
        memory.Remove(Id(1));

        Assert.That(memory.TryAdd(Id(1)), Is.True);
    }

    private static IdHash Id(int number) => IdHash.Of("dpop", "key", $"{number}");
}
