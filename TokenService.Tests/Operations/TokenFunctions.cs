using Npgsql;

namespace TokenService.Tests.Operations;

/// <summary>Tokens that are dead before they expire: those of a client up to an instant, and when that is forgotten again.</summary>
[TestFixture]
public sealed class TokenFunctions : AdminFunctions
{
    private const string Now = "timestamptz '2040-01-31 00:00Z'";

    // Where the table is small the planner has its choice, and one of its plans runs a subquery of IN for every row.
    private const string UnluckyPlan =
        """
        set local enable_hashjoin = off; set local enable_mergejoin = off; set local enable_hashagg = off;
        set local enable_material = off; set local enable_sort = off;
        """;

    [SetUp]
    public Task ForgetAll() => Database.ExecuteAsync(
        "delete from token_service.revoked_token; delete from token_service.tokens_not_before");

    [Test]
    public async Task All_that_a_client_got_until_an_instant_is_dead()
    {
        const string Call = $"select token_service.revoke_client_tokens('billing', {Now}) at time zone 'UTC'";
        Assert.That(await Database.ReadAsync<DateTime>(Call), Is.EqualTo(new DateTime(2040, 1, 31)));
        Assert.That(await EndsAsync(), Is.EqualTo(["billing | 2040-01-31 00:00:00"]));
        await ChangesNothingAsync(Call);

        await Database.ExecuteAsync("select token_service.revoke_client_tokens('billing', '2040-02-01Z')");
        Assert.That(await EndsAsync(), Is.EqualTo(["billing | 2040-02-01 00:00:00"]));
    }

    [Test]
    public async Task What_was_dead_stays_dead_and_the_answer_says_so()
    {
        await Database.ExecuteAsync("select token_service.revoke_client_tokens('billing', '2040-02-01Z')");
        Assert.That(
            await Database.ReadAsync<DateTime>($"select token_service.revoke_client_tokens('billing', {Now}) at time zone 'UTC'"),
            Is.EqualTo(new DateTime(2040, 2, 1)));
        Assert.That(await EndsAsync(), Is.EqualTo(["billing | 2040-02-01 00:00:00"]));
    }

    [Test]
    public async Task Without_an_instant_it_is_now()
    {
        Assert.That(
            await RowsAsync("begin; select token_service.revoke_client_tokens('billing') = now(); commit"), Is.EqualTo(["True"]));
    }

    [TestCaseSource(nameof(RefusedClientIds))]
    public Task An_unknown_client_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("revoke_client_tokens", new() { [argument] = value }), state, message, hint);

    [Test]
    public async Task The_tokens_of_a_disabled_and_of_a_deleted_client_are_ended_too()
    {
        await CreateAsync("left");
        await Database.ExecuteAsync(
            """
            select token_service.set_client_enabled('left', false);
            select token_service.revoke_client_tokens('left', '2040-01-01Z')
            """);
        Assert.That(await EndsAsync(), Is.EqualTo(["left | 2040-01-01 00:00:00"]));

        await Database.ExecuteAsync(
            """
            select token_service.delete_client('left');
            select token_service.revoke_client_tokens('left', '2040-01-02Z')
            """);
        Assert.That(await EndsAsync(), Is.EqualTo(["left | 2040-01-02 00:00:00"]));
    }

    [Test]
    public async Task A_client_that_is_disabled_leaves_no_token_alive_and_enabling_it_brings_none_back()
    {
        await CreateAsync("switched");
        Assert.That(await EndedNowAsync("set_client_enabled('switched', false)", "switched"), Is.True);

        var ends = await EndsAsync();
        await Database.ExecuteAsync("select token_service.set_client_enabled('switched', false)");
        await Database.ExecuteAsync("select token_service.set_client_enabled('switched', true)");
        Assert.That(await EndsAsync(), Is.EqualTo(ends));
    }

    [Test]
    public async Task A_client_that_is_deleted_leaves_no_token_alive_and_making_it_anew_brings_none_back()
    {
        await CreateAsync("gone");
        await Database.ExecuteAsync("select token_service.set_client_enabled('gone', false); delete from token_service.tokens_not_before");
        Assert.That(await EndedNowAsync("delete_client('gone')", "gone"), Is.True);

        var ends = await EndsAsync();
        await CreateAsync("gone");
        Assert.That(await EndsAsync(), Is.EqualTo(ends));
    }

    // By hand: an enabled client too, which delete_client would refuse.
    [Test]
    public async Task A_client_that_is_deleted_by_hand_leaves_no_token_alive()
    {
        await Database.ExecuteAsync(
            """
            insert into token_service.client (id, name) values ('unmade', 'x');
            delete from token_service.client where id = 'unmade'
            """);
        Assert.That(await EndsAsync(), Has.Length.EqualTo(1).And.All.StartsWith("unmade | "));
    }

    [TestCase("select token_service.update_client('billing', 'Another name', '10 minutes')")]
    [TestCase("update token_service.client set enabled = enabled")]
    [TestCase("insert into token_service.client (id, name, enabled) values ('made-disabled', 'x', false)")]
    [TestCase("update token_service.client set name = name where not enabled")]
    public async Task Any_other_change_of_a_client_ends_nothing(string change)
    {
        await Database.ExecuteAsync(change);
        Assert.That(await EndsAsync(), Is.Empty);
    }

    [Test]
    public async Task What_has_expired_an_hour_ago_or_a_day_and_an_hour_is_deleted()
    {
        await Database.ExecuteAsync(
            $"""
            insert into token_service.revoked_token (jti, client_id, expires_at) values
                ('expired', 'billing', {Now} - interval '1 hour 1 second'),
                ('forgiven', 'billing', {Now} - interval '1 hour'),
                ('alive', 'billing', {Now} + interval '1 hour');
            insert into token_service.tokens_not_before values
                ('past', {Now} - interval '25 hours 1 second'),
                ('late', {Now} - interval '25 hours'),
                ('new', {Now});
            """);
        Assert.That(await DeleteAsync(100), Is.EqualTo(1));
        Assert.That(await LeftAsync(), Is.EqualTo(["alive", "forgiven", "late", "new"]));
        Assert.That(await DeleteAsync(100), Is.Zero);
    }

    [TestCase("")]
    [TestCase(UnluckyPlan)]
    public async Task No_more_are_deleted_at_once_than_were_asked_for_the_oldest_first(string plan)
    {
        await FillAsync(tokens: 5, clients: 3);
        Assert.That(await DeleteAsync(2, plan), Is.EqualTo(2));
        Assert.That(await LeftAsync(), Is.EqualTo(["c3", "t3", "t4", "t5"]));
        // The longer of the two decides whether there may be more.
        Assert.That(await DeleteAsync(2, plan), Is.EqualTo(2));
        Assert.That(await LeftAsync(), Is.EqualTo(["t5"]));
        Assert.That(await DeleteAsync(2, plan), Is.EqualTo(1));
        Assert.That(await LeftAsync(), Is.Empty);
    }

    [Test]
    public async Task What_another_holds_is_left_to_it()
    {
        await FillAsync(tokens: 3, clients: 2);
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var hold = new NpgsqlCommand(
            """
            select from token_service.revoked_token where jti = 't1' for update;
            select from token_service.tokens_not_before where client_id = 'c1' for update
            """, connection, transaction);
        await hold.ExecuteNonQueryAsync();

        // Were it to wait for those, it would be refused. Far from what it takes.
        Assert.That(await DeleteAsync(2, "set local lock_timeout = '10s';"), Is.EqualTo(2));
        Assert.That(await LeftAsync(), Is.EqualTo(["c1", "t1"]));

        await transaction.RollbackAsync();
        Assert.That(await DeleteAsync(2), Is.EqualTo(1));
        Assert.That(await LeftAsync(), Is.Empty);
    }

    // All of them long past, the lowest number first.
    private Task FillAsync(int tokens, int clients) => Database.ExecuteAsync(
        $"""
        insert into token_service.revoked_token (jti, client_id, expires_at)
        select 't' || n, 'billing', {Now} - interval '2 days' + n * interval '1 second' from generate_series(1, {tokens}) n;
        insert into token_service.tokens_not_before
        select 'c' || n, {Now} - interval '2 days' + n * interval '1 second' from generate_series(1, {clients}) n
        """);

    private async Task<int> DeleteAsync(int limit, string settings = "")
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var command = new NpgsqlCommand(
            $"{settings} select token_service.delete_expired({limit}, {Now})", connection, transaction);
        var deleted = (int)(await command.ExecuteScalarAsync())!;
        await transaction.CommitAsync();
        return deleted;
    }

    private Task<string[]> LeftAsync() => RowsAsync(
        "select jti as id from token_service.revoked_token union all select client_id from token_service.tokens_not_before order by id");

    private Task<string[]> EndsAsync() => RowsAsync(
        "select client_id, to_char(not_before at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') from token_service.tokens_not_before order by 1");

    // In one transaction, whose time is its now().
    private async Task<bool> EndedNowAsync(string call, string client)
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var command = new NpgsqlCommand($"select token_service.{call}", connection, transaction);
        await command.ExecuteNonQueryAsync();
        command.CommandText = $"select not_before = now() from token_service.tokens_not_before where client_id = '{client}'";
        var ended = await command.ExecuteScalarAsync() is true;
        await transaction.CommitAsync();
        return ended;
    }

    private async Task CreateAsync(string id) => await Database.ExecuteAsync(
        "select token_service.create_client(@id, 'x', 'https://api.example.com', array['parcels:read'], @secretId, @digest)",
        new { id, secretId = Clients.ClientSecret.NewImportedId(), digest = Digest.Trim('\'') });
}
