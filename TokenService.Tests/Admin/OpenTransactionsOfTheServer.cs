using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>
/// Somebody with the server's password leaves a transaction open, after every statement that the server may run. Admins
/// can work all the same. What they cannot do at once fails after 5 seconds, also at the commit.
/// </summary>
[TestFixture]
public sealed class OpenTransactionsOfTheServer : AdminFixture
{
    private const string Change = "update token_service.signing_key set signs_until = now() + interval '1 day'";

    private const string Pending = "audit_pending, lateral (select (entry).*) e";

    private Login server = null!;
    private Login admin = null!;

    [OneTimeSetUp]
    public async Task CreateLogins()
    {
        server = await Login.CreateAsync(Database, "token_service_app");
        admin = await Login.CreateAsync(Database, "token_service_admin");
        await Database.ExecuteAsync(
            """
            insert into token_service.signing_key (
                kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, signs_from, jwks_max_age_seconds)
            values ('signing', 'ES256', '{}', '', 'test', now(), now(), now(), 300);
            select token_service.keep_verified_secrets('{UsedUsedUsed}', array[sha256('')], '{test}', array[now()]);
            insert into token_service.tokens_not_before values ('billing', now() - interval '2 days');
            """);
    }

    [OneTimeTearDown]
    public async Task DropLogins()
    {
        await server.DisposeAsync();
        await admin.DisposeAsync();
    }

    [TestCase("select token_service.set_client_enabled('billing', false)")]
    [TestCase("select token_service.set_client_enabled('billing', true)")]
    [TestCase("select token_service.revoke_client_tokens('billing')")]
    [TestCase("select token_service.revoke_secret('billing', 'UsedUsedUsed')")]
    [TestCase($"select token_service.rotate_secret('billing', 'NewNewNewNew', {Digest}, '0')")]
    [TestCase("select token_service.create_client('another', 'Another', 'https://api.example.com', array['parcels:write'])")]
    [TestCase("select token_service.set_policy('90 days')")]
    [TestCase("select token_service.append_pending_changes()")]
    public async Task An_open_transaction_of_the_server_holds_up_no_admin(string change)
    {
        await using var open = await server.Source.OpenConnectionAsync();
        await using var held = new NpgsqlCommand(
            $$"""
            begin;
            set constraints all immediate;
            select token_service.lock_signing_keys();
            {{Change}};
            select token_service.add_credential_use('{secret}', '{UsedUsedUsed}', '{1}', array[now()], array[now()], '{127.0.0.1}');
            select token_service.add_scope_use(
                '{billing}', '{https://api.example.com}', '{parcels:read}', '{1}', array[now()], array[now()]);
            select token_service.revoke_token('a', 'billing', now(), now() + interval '1 hour');
            select token_service.keep_verified_secrets('{UsedUsedUsed}', array[sha256('')], '{test}', array[now()]);
            select token_service.delete_expired(1000)
            """, open);
        await held.ExecuteNonQueryAsync();

        Assert.That(() => admin.ExecuteAsync($"set lock_timeout = '1s'; {change}"), Throws.Nothing);
    }

    [Test]
    public async Task An_admin_waits_5_seconds_for_a_row_that_the_server_holds()
    {
        await using var open = await server.Source.OpenConnectionAsync();
        await using var held = new NpgsqlCommand($"begin; {Change}", open);
        await held.ExecuteNonQueryAsync();

        var refusal = await Assert.ThrowsAsync<PostgresException>(
            () => admin.ExecuteAsync("select token_service.withdraw_signing_key('signing')"));
        Assert.That(refusal!.SqlState, Is.EqualTo(PostgresErrorCodes.LockNotAvailable));
    }

    [Test]
    public async Task A_change_by_the_server_is_appended_to_the_audit_log_before_the_next_change_of_an_admin()
    {
        await server.ExecuteAsync("update token_service.signing_key set max_token_lifetime_seconds = max_token_lifetime_seconds + 1");
        Assert.That(await EntriesAsync(Pending), Is.EqualTo([$"{server.Name} | signing_key | signing"]));

        await admin.ExecuteAsync("select token_service.update_client('billing', 'Renamed')");
        Assert.That(await EntriesAsync(Pending), Is.Empty);
        Assert.That(
            (await EntriesAsync("audit_log e"))[^2..],
            Is.EqualTo([$"{server.Name} | signing_key | signing", $"{admin.Name} | client | billing"]));
        Assert.That(await RowsAsync("select * from token_service.audit_findings()"), Is.Empty);
    }

    private Task<string[]> EntriesAsync(string from) =>
        RowsAsync($"select e.user_name, e.table_name, e.row_key from token_service.{from} order by e.id");
}
