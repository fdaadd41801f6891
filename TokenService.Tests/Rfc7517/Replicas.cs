using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7517;

/// <summary>Servers that share a database, and so their keys.</summary>
[TestFixture, Rfc(7517, "5"), Rfc(9111, "D")]
public sealed class Replicas : ServerFixture
{
    private const string Jwks = "/.well-known/jwks.json";

    [Test]
    public async Task Replicas_publish_the_same_set_under_the_same_tag()
    {
        await using var replica = await TestServer.StartAsync(Database, "Keys:JwksMaxAge=00:00:30");

        var (here, there) = (await Server.GetAsync(Jwks), await replica.GetAsync(Jwks));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(there.Body, Is.EqualTo(here.Body));
            Assert.That(there.Headers["ETag"], Is.EqualTo(here.Headers["ETag"]));
            Assert.That(there.Headers["Cache-Control"], Is.EqualTo("public, max-age=30"));
        }
    }

    [Test, Rfc(7517, "4.2/4.5")]
    public async Task A_set_that_changed_has_another_tag_and_every_key_its_own_kid()
    {
        await using var database = await Database.CreateAsync();
        var clock = new FakeClock();
        clock.Advance(TimeSpan.FromDays(-1));
        await using var before = await TestServer.StartAsync(database.ConnectionString, clock);
        var old = await before.GetAsync(Jwks);
        // It may sign no more, so the next server to start makes another.
        await database.ExecuteAsync("update token_service.signing_key set signs_until = signs_from + interval '1 hour'");

        await using var after = await TestServer.StartAsync(database);

        var kids = (await PublishedKey.ReadAllAsync(after)).Select(key => key.Kid).ToList();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(kids, Has.Count.EqualTo(2).And.Unique);
            Assert.That((await after.GetAsync(Jwks)).Headers["ETag"], Is.Not.EqualTo(old.Headers["ETag"]));
        }
    }

    [Test, Rfc(8725, "3.5")]
    public async Task Another_database_has_another_key()
    {
        await using var database = await Database.CreateAsync();
        await using var stranger = await TestServer.StartAsync(database);

        Assert.That((await PublishedKey.ReadAllAsync(stranger)).Single().Kid,
            Is.Not.EqualTo((await PublishedKey.ReadAllAsync(Server))[0].Kid));
    }
}
