using TokenService.Caching;

namespace TokenService.Tests.Caching;

/// <summary>The map behind every cache and limiter never grows beyond its maximum.</summary>
[TestFixture]
public sealed class BoundedMaps
{
    private const int Max = 800;

    [Test]
    public void A_full_map_removes_an_eighth_of_its_entries_and_keeps_the_one_that_is_added()
    {
        var map = new BoundedMap<int, string>(Max);
        for (var key = 0; key < Max; key++)
            map.Set(key, "x");
        Assert.That(KeysOf(map), Has.Count.EqualTo(Max));

        map.Set(Max, "x");

        Assert.That(KeysOf(map), Has.Count.EqualTo((Max * 7 / 8) + 1).And.Contain(Max));
    }

    [Test]
    public void A_full_map_removes_obsolete_entries_before_others()
    {
        var map = new BoundedMap<int, bool>(Max, obsolete: () => isObsolete => isObsolete);
        for (var key = 0; key < Max; key++)
            map.Set(key, key < Max / 2);

        Assert.That(map.TryAdd(Max, false), Is.True);

        Assert.That(KeysOf(map), Is.EquivalentTo(Enumerable.Range(Max / 2, (Max / 2) + 1)));
    }

    [Test]
    public void Replacing_a_value_removes_nothing()
    {
        var map = new BoundedMap<int, string>(Max);
        for (var key = 0; key < Max; key++)
            map.Set(key, "x");

        map.Set(0, "y");
        Assert.That(map.TryAdd(1, "y"), Is.False);
        Assert.That(map.TryUpdate(2, "y", expected: "x"), Is.True);

        Assert.That(KeysOf(map), Has.Count.EqualTo(Max));
        Assert.That(map.TryGetValue(0, out var value) ? value : null, Is.EqualTo("y"));
    }

    [Test]
    public void A_map_of_one_keeps_the_last_entry()
    {
        var map = new BoundedMap<int, string>(1);
        for (var key = 0; key < 4; key++)
            map.Set(key, "x");

        Assert.That(KeysOf(map), Is.EqualTo([3]));
    }

    [Test]
    public void A_map_of_none_keeps_nothing()
    {
        var map = new BoundedMap<int, string>(0);
        map.Set(1, "x");

        Assert.That(map.TryAdd(2, "x"), Is.False);
        Assert.That(KeysOf(map), Is.Empty);
    }

    private static List<int> KeysOf<TValue>(BoundedMap<int, TValue> map) =>
        [.. Enumerable.Range(0, Max + 1).Where(key => map.TryGetValue(key, out _))];
}
