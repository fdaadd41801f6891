using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>
/// A client that revokes many of its tokens one by one revokes all of them in the end, so that it takes one line in the
/// list of revoked tokens, which must stay short.
/// </summary>
[TestFixture, Rfc(7009, "2.1c")]
public sealed class ClientsThatRevokeMuch : IntrospectionFixture
{
    private const int MaxTokens = 200;

    private TestClient client = null!;

    [SetUp]
    public async Task CreateClient()
    {
        client = await Database.CreateClientAsync($"client-{Guid.NewGuid():N}");
        await FillAsync(MaxTokens - 1, "1 hour");
    }

    [TearDown]
    public Task ForgetRevocations() => Database.ExecuteAsync("truncate token_service.revoked_token, token_service.self_revocation");

    [Test]
    public async Task The_last_token_below_the_limit_is_revoked_alone()
    {
        var (revoked, other) = (await IssueAsync(), await IssueAsync());
        await RevokeAsync(revoked);

        Assert.That((await IsActiveAsync(revoked), await IsActiveAsync(other)), Is.EqualTo((false, true)));
    }

    [Test]
    public async Task The_next_token_revokes_all_that_the_client_got_until_then_and_none_that_it_gets_later()
    {
        await RevokeAsync(await IssueAsync());
        var (revoked, other) = (await IssueAsync(), await IssueAsync());
        Assert.That(await IsActiveAsync(other), Is.True);
        await RevokeAsync(revoked);
        await Server.HasReceivedNotificationsAsync();
        Server.Clock.Advance(TimeSpan.FromSeconds(1));

        Assert.That((await IsActiveAsync(revoked), await IsActiveAsync(other)), Is.EqualTo((false, false)));
        Assert.That(await IsActiveAsync(await IssueAsync()), Is.True);
        Assert.That(await RowsAsync(), Is.EqualTo((MaxTokens, 1)));
    }

    [Test]
    public async Task A_token_that_is_dead_already_takes_no_further_row()
    {
        await RevokeAsync(await IssueAsync());
        var (first, second) = (await IssueAsync(), await IssueAsync());
        await RevokeAsync(first);
        await RevokeAsync(first);
        await RevokeAsync(second);

        Assert.That(await RowsAsync(), Is.EqualTo((MaxTokens, 1)));
    }

    [Test]
    public async Task Revocations_of_tokens_that_expired_long_ago_do_not_count()
    {
        await Database.ExecuteAsync("update token_service.revoked_token set expires_at = now() - interval '11 minutes'");
        await RevokeAsync(await IssueAsync());
        await RevokeAsync(await IssueAsync());

        Assert.That(await RowsAsync(), Is.EqualTo((MaxTokens + 1, 0)));
    }

    [Test]
    public async Task Another_client_still_revokes_its_tokens_one_by_one()
    {
        await RevokeAsync(await IssueAsync());
        client = await Database.CreateClientAsync($"client-{Guid.NewGuid():N}");
        var (revoked, other) = (await IssueAsync(), await IssueAsync());
        await RevokeAsync(revoked);

        Assert.That((await IsActiveAsync(revoked), await IsActiveAsync(other)), Is.EqualTo((false, true)));
    }

    // Somebody with the server's password must not lock a client out for good, or use up the list for good.
    [Test]
    public async Task Dates_in_the_far_future_are_not_believed_and_an_unknown_client_takes_no_row()
    {
        await Database.ExecuteAsync(
            """
            select token_service.revoke_token('far', @id, now(), '8999-12-31Z');
            select token_service.revoke_token('farther', @id, '8999-12-31Z', now() + interval '1 hour');
            select token_service.revoke_token('ghost', 'ghost', now(), now() + interval '1 hour')
            """,
            client);

        Assert.That(await RowsAsync(), Is.EqualTo((MaxTokens, 1)));
        Assert.That(await Database.ReadAsync<bool>(
            """
            select (select max(expires_at) from token_service.revoked_token) < now() + interval '8 days'
               and (select max(not_before) from token_service.self_revocation) < now() + interval '6 minutes'
            """));
    }

    private Task FillAsync(int count, string expires) => Database.ExecuteAsync(
        """
        insert into token_service.revoked_token (jti, client_id, expires_at)
        select lpad(n::text, 22, '0'), @id, now() + @expires::interval from generate_series(1, @count) n
        """,
        new { id = client.Id, count, expires });

    private async Task<(int Tokens, int Clients)> RowsAsync() => (
        await Database.ReadAsync<int>("select count(*) from token_service.revoked_token"),
        await Database.ReadAsync<int>("select count(*) from token_service.self_revocation"));

    private async Task<string> IssueAsync() => (await TokenRequestBuilder.For(client).SendAsync(Server)).Token.EncodedToken;

    private async Task RevokeAsync(string token) =>
        (await TokenRequestBuilder.Revoke(client, token).SendAsync(Server)).IsDone(contentType: null);

    private async Task<bool> IsActiveAsync(string token) =>
        (await TokenRequestBuilder.Introspect(Api, token).SendAsync(Server)).Json.GetProperty("active").GetBoolean();
}
