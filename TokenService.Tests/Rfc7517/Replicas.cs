using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7517;

/// <summary>Servers that share a database share their keys.</summary>
[TestFixture, Rfc(7517, "5"), Rfc(9111, "D")]
public sealed class Replicas : ServerFixture
{
    private const string Jwks = "/.well-known/jwks.json";

    [Test]
    public async Task Replicas_publish_the_same_set_with_the_same_ETag()
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
    public async Task A_changed_set_has_another_ETag_and_every_key_its_own_kid()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(database);
        var old = await server.GetAsync(Jwks);

        // After 31 days the next key signs and has a successor.
        server.Clock.Advance(TimeSpan.FromDays(31));
        await server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);

        var kids = (await PublishedKey.ReadAllAsync(server)).Select(key => key.Kid).ToList();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(kids, Has.Count.EqualTo(2).And.Unique);
            Assert.That((await server.GetAsync(Jwks)).Headers["ETag"], Is.Not.EqualTo(old.Headers["ETag"]));
        }
    }

    [Test, Rfc(8725, "3.5")]
    public async Task Another_database_has_other_keys()
    {
        await using var database = await Database.CreateAsync();
        await using var stranger = await TestServer.StartAsync(database);

        var keys = (await PublishedKey.ReadAllAsync(stranger)).Concat(await PublishedKey.ReadAllAsync(Server));
        Assert.That(keys.Select(key => key.Kid), Is.Unique);
    }
}
