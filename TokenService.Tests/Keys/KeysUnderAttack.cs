using Dapper;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>Rows and locks with which somebody could keep the replicas from their signing keys.</summary>
[TestFixture]
public sealed class KeysUnderAttack : ServerFixture
{
    private SigningKeys Keys => Server.Services.GetRequiredService<SigningKeys>();

    private KeyRotation Rotation => Server.Services.GetRequiredService<KeyRotation>();

    // The lock that earlier versions took.
    [Test]
    public async Task A_user_without_a_role_cannot_hold_up_the_rotation()
    {
        await using var stranger = await Login.CreateAsync(Database, "");
        await using var holder = await stranger.Source.OpenConnectionAsync();
        await holder.ExecuteAsync($"begin; select pg_advisory_xact_lock({0x6B6579735F5F7376})");

        await WithdrawAllAsync();
        await Rotation.StepAsync(CancellationToken.None);

        Assert.That(PublishedCount(), Is.EqualTo(2), "one key signs, one is next");
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_replica_that_does_not_get_the_lock_knows_what_was_withdrawn_and_makes_keys_later()
    {
        await using var holder = await Database.Source.OpenConnectionAsync();
        await holder.ExecuteAsync("begin; lock table token_service.signing_key in share update exclusive mode");
        await WithdrawAllAsync();

        await Rotation.StepAsync(CancellationToken.None);
        Assert.That(PublishedCount(), Is.Zero);
        Assert.That(Server.Log.Lines, Has.Some.Contain("The signing keys are locked"));

        await holder.ExecuteAsync("commit");
        await Rotation.StepAsync(CancellationToken.None);
        Assert.That(PublishedCount(), Is.EqualTo(2));
    }

    // The owner has dropped the constraints that refuse these rows.
    [TestCase("published_at = '-infinity'")]
    [TestCase("signs_until = '20000-01-01Z'")]
    [TestCase("withdrawn_at = 'infinity'")]
    [TestCase("public_jwk = jsonb_set(public_jwk, '{x}', (repeat('[', 100) || repeat(']', 100))::jsonb)")]
    public async Task A_row_that_cannot_be_read_does_not_keep_the_others_from_being_read(string change)
    {
        await Database.ExecuteAsync(
            $"""
            alter table token_service.signing_key drop constraint if exists signing_key_dates_representable;
            alter table token_service.signing_key drop constraint if exists signing_key_public_jwk_depth;
            insert into token_service.signing_key (
                kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, signs_from, jwks_max_age_seconds)
            values ('unreadable', 'ES256', '{"{}"}', '', 'test', now(), now(), now(), 300);
            update token_service.signing_key set {change} where kid = 'unreadable'
            """);
        try
        {
            await Rotation.StepAsync(CancellationToken.None);

            (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
            await using var other = await TestServer.StartAsync(Database);
            (await TokenRequestBuilder.For(Client).SendAsync(other)).IsGrant("invoices:read");
        }
        finally
        {
            await Database.ExecuteAsync("delete from token_service.signing_key where kid = 'unreadable'");
        }
    }

    private int PublishedCount() => Keys.Ring.PublishedAt(Server.Clock.GetUtcNow()).Count();

    private async Task WithdrawAllAsync()
    {
        foreach (var key in Keys.Ring.Keys.ToList())
            await Database.WithdrawKeyAsync(key.Kid, Server.Clock.GetUtcNow());
    }
}
