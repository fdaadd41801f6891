using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>Failed authentication gets one answer, the same for every cause.</summary>
[TestFixture, Rfc(6749, "5.2"), Rfc(6749, "5.2f")]
public sealed class FailedAuthentication : ServerFixture
{
    private static readonly TimeSpan Instant = TimeSpan.FromMicroseconds(1); // the resolution of PostgreSQL timestamps

    [Test, Rfc(6749, "5.2b")]
    public async Task A_wrong_secret_in_the_header_is_refused() =>
        (await TokenRequestBuilder.For(Client with { Secret = "wrong" }).SendAsync(Server)).IsInvalidClient();

    [Test, Rfc(6749, "5.2c")]
    public async Task A_wrong_secret_in_the_body_is_refused() =>
        (await TokenRequestBuilder.ByPost(Client with { Secret = "wrong" }).SendAsync(Server)).IsInvalidClient();

    [TestCase("unknown")]
    [TestCase("BILLING")]
    [TestCase("billing ")]
    [TestCase("billing\0")]
    [TestCase("-billing")]
    [TestCase("b\u0131lling")]
    [TestCase("' or true --")]
    [TestCase("*")]
    public async Task An_unknown_client_is_refused(string id)
    {
        (await TokenRequestBuilder.For(Client with { Id = id }).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.For(new TestClient(id, "imported")).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.ByPost(Client with { Id = id }).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task A_disabled_client_is_refused_until_it_is_enabled_again()
    {
        var client = await Database.CreateClientAsync("disabled");
        await Database.AddSecretAsync(client.Id, "imported");
        await Database.ExecuteAsync("update token_service.client set enabled = false where id = @Id", client);

        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.For(client with { Secret = "imported" }).SendAsync(Server)).IsInvalidClient();
        await Database.ExecuteAsync("update token_service.client set enabled = true where id = @Id", client);
        await Server.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_secret_of_another_client_is_refused([Values] bool imported)
    {
        var other = await Database.CreateClientAsync($"other-{imported}");
        await Database.AddSecretAsync(other.Id, "the secret of another");

        (await TokenRequestBuilder.For(Client with { Secret = imported ? "the secret of another" : other.Secret }).SendAsync(Server))
            .IsInvalidClient();
    }

    [Test]
    public async Task A_secret_that_matches_only_the_selector_of_a_row_is_refused()
    {
        var forged = GeneratedSecret.Create();
        await Database.ExecuteAsync(
            "update token_service.client_secret set id = @Selector where client_id = @Id",
            new { forged.Selector, (await Database.CreateClientAsync("forged")).Id });

        (await TokenRequestBuilder.For(new TestClient("forged", forged.Value)).SendAsync(Server)).IsInvalidClient();
    }

    // Each has one character changed, lost, added or swapped. The checksum detects all of them.
    [Test]
    public async Task A_damaged_secret_is_refused()
    {
        var secret = Client.Secret;
        string[] damaged =
        [
            secret[..^1], secret + "0", secret + " ", secret[..5], secret.ToUpperInvariant()[..5] + secret[5..], secret.Replace('_', '-'),
            .. Enumerable.Range(5, secret.Length - 5).Select(at => $"{secret[..at]}{(secret[at] == 'x' ? 'y' : 'x')}{secret[(at + 1)..]}"),
        ];

        foreach (var value in damaged)
            (await TokenRequestBuilder.For(Client with { Secret = value }).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task A_secret_is_refused_before_its_not_before([Values] bool imported)
    {
        var from = Server.Clock.GetUtcNow() + TimeSpan.FromHours(1);
        var client = await ClientAsync(imported, "not_before", from);
        AdvanceTo(from - Instant);
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();

        AdvanceTo(from);
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_secret_is_refused_from_its_expiry_or_revocation_on(
        [Values("expires_at", "revoked_at")] string end, [Values] bool imported)
    {
        var until = Server.Clock.GetUtcNow() + TimeSpan.FromHours(1);
        var client = await ClientAsync(imported, end, until);
        AdvanceTo(until - Instant);
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("invoices:read");

        AdvanceTo(until);
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task A_revoked_secret_leaves_the_other_secrets_of_its_client_valid()
    {
        var client = await ClientAsync(imported: true, "revoked_at", Server.Clock.GetUtcNow());
        var live = GeneratedSecret.Create().Value;
        await Database.AddSecretAsync(client.Id, live);

        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.For(client with { Secret = live }).SendAsync(Server)).IsGrant("invoices:read");
    }

    [TestCase("Bearer {0}")]
    [TestCase("Digest username=\"billing\"")]
    [TestCase("Negotiate {0}")]
    [TestCase("DPoP {0}")]
    [TestCase("{0}")]
    [TestCase("Basic")]
    [TestCase("Basic {0}, Basic {0}")]
    [TestCase("Basic {0}=")]
    [TestCase("Basic !{0}")]
    [TestCase("Basic billing:secret")]
    [TestCase("Basic YmlsbGluZw==", Description = "no colon")]
    [TestCase("Basic Og==", Description = "a colon alone")]
    [TestCase("Basic YmlsbGluZzo=", Description = "no secret")]
    [TestCase("Basic OnNlY3JldA==", Description = "no id")]
    [TestCase("Basic YmlsbGluZzr/", Description = "a byte that is not UTF-8")]
    [TestCase("Basic YmlsbGluZzol", Description = "a percent sign at the end")]
    public async Task A_malformed_Authorization_header_is_refused(string header)
    {
        var authorization = header.Replace("{0}", TokenRequestBuilder.Base64($"{Client.Id}:{Client.Secret}"), StringComparison.Ordinal);
        (await TokenRequestBuilder.Anonymous().WithAuthorization(authorization).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task Credentials_that_are_too_long_are_refused()
    {
        (await TokenRequestBuilder.For(Client with { Secret = new string('x', 5000) }).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.ByPost(Client with { Secret = new string('x', 5000) }).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.ByPost(Client with { Id = new string('x', 5000) }).SendAsync(Server)).IsInvalidClient();
    }

    /// <summary>Creates a client whose only secret has this date.</summary>
    private async Task<TestClient> ClientAsync(bool imported, string column, DateTimeOffset date)
    {
        var client = await Database.CreateClientAsync($"c{Guid.NewGuid():N}");
        if (imported)
        {
            await Database.ExecuteAsync("delete from token_service.client_secret where client_id = @Id", client);
            client = client with { Secret = "imported" };
            await Database.AddSecretAsync(client.Id, client.Secret);
        }

        await Database.ExecuteAsync(
            $"update token_service.client_secret set {column} = @date where client_id = @Id", new { client.Id, date });
        return client;
    }

    [Test]
    public async Task Bytes_in_the_header_that_are_not_UTF8_are_refused()
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync(
            "POST /token HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/x-www-form-urlencoded\n"
            + "Authorization: Basic \u00FF\u00FE\nContent-Length: 0\n\n");

        (await wire.ReadAnswerAsync()).IsInvalidClient();
    }

    private void AdvanceTo(DateTimeOffset instant) => Server.Clock.Advance(instant - Server.Clock.GetUtcNow());
}
