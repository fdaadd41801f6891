using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>
/// Tokens that are dead before they expire: the tokens of a client up to an instant, and when such rows are deleted.
/// </summary>
[TestFixture]
public sealed class TokenFunctions : AdminFixture
{
    private const string LongAgo = "timestamptz '2020-01-01Z'";

    // A replica learns of the change within 5 seconds; another 5 are for clocks that differ.
    private static readonly TimeSpan UntilEveryReplicaKnows = TimeSpan.FromSeconds(10);

    // On a small table the planner may choose a plan that runs a subquery of IN once for each row. These settings force
    // it.
    private const string UnluckyPlan =
        """
        set local enable_hashjoin = off; set local enable_mergejoin = off; set local enable_hashagg = off;
        set local enable_material = off; set local enable_sort = off;
        """;

    [SetUp]
    public Task ForgetAll() => Database.ExecuteAsync(
        "delete from token_service.revoked_token; delete from token_service.self_revocation; delete from token_service.tokens_not_before");

    // The instant is that of the call and not that of the transaction, which may have begun long ago.
    [Test]
    public async Task Revoking_the_tokens_of_a_client_ends_all_of_them_up_to_now()
    {
        await EndsAsync("select token_service.revoke_client_tokens('billing')", "billing", TimeSpan.Zero);
        await Database.ExecuteAsync($"insert into token_service.tokens_not_before values ('billing', {LongAgo})");
        await EndsAsync("select token_service.revoke_client_tokens('billing')", "billing", TimeSpan.Zero);
    }

    [Test]
    public async Task Tokens_that_were_dead_stay_dead_and_the_function_returns_that_instant()
    {
        await Database.ExecuteAsync("select token_service.end_tokens_of('billing', '2040-02-01Z')");
        Assert.That(
            await Database.ReadAsync<DateTime>("select token_service.revoke_client_tokens('billing') at time zone 'UTC'"),
            Is.EqualTo(new DateTime(2040, 2, 1)));
        Assert.That(await EndsAsync(), Is.EqualTo(["billing | 2040-02-01 00:00:00"]));
    }

    // With a time of its own choice an admin could lock a client out for years, and the service could delete
    // revocations that still count.
    [TestCase("revoke_client_tokens('billing', now() + interval '1 year')")]
    [TestCase("delete_expired(1, now() + interval '1 year')")]
    public void The_functions_take_no_time_from_the_caller(string call) =>
        Assert.That(
            () => Database.ExecuteAsync($"select token_service.{call}"),
            Throws.InstanceOf<PostgresException>()
                .With.Property(nameof(PostgresException.SqlState)).EqualTo(PostgresErrorCodes.UndefinedFunction));

    [TestCaseSource(nameof(RefusedClientIds))]
    public Task An_unknown_client_is_refused(string argument, string value, string state, string message, string hint) =>
        IsRefusedAsync(Call("revoke_client_tokens", new() { [argument] = value }), state, message, hint);

    [Test]
    public async Task Tokens_of_a_disabled_or_deleted_client_are_revoked_too()
    {
        await CreateAsync("left");
        foreach (var change in new[] { "set_client_enabled('left', false)", "delete_client('left')" })
        {
            await Database.ExecuteAsync($"select token_service.{change}");
            await Database.ExecuteAsync($"update token_service.tokens_not_before set not_before = {LongAgo}");
            await EndsAsync("select token_service.revoke_client_tokens('left')", "left", TimeSpan.Zero);
        }
    }

    [TestCase("select token_service.set_client_enabled('billing', false)")]
    [TestCase("delete from token_service.client where id = 'billing'")]
    [TestCase("truncate token_service.client cascade")]
    public async Task Disabling_or_deleting_a_client_ends_its_tokens_up_to_10_seconds_later(string change)
    {
        await EndsAsync(change, "billing", UntilEveryReplicaKnows);
        await Database.ExecuteAsync($"insert into token_service.tokens_not_before values ('billing', {LongAgo})");
        await EndsAsync(change, "billing", UntilEveryReplicaKnows);
    }

    [Test]
    public async Task Deleting_a_client_that_was_disabled_long_ago_ends_its_tokens_too()
    {
        await CreateAsync("gone");
        await Database.ExecuteAsync("select token_service.set_client_enabled('gone', false); delete from token_service.tokens_not_before");
        await EndsAsync("select token_service.delete_client('gone')", "gone", UntilEveryReplicaKnows);
    }

    [Test]
    public async Task Truncating_the_clients_ends_the_tokens_of_each_client()
    {
        await CreateAsync("one");
        await CreateAsync("two");
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using (var truncate = new NpgsqlCommand("truncate token_service.client cascade", connection, transaction))
            await truncate.ExecuteNonQueryAsync();

        Assert.That(
            await RowsAsync("select client_id from token_service.tokens_not_before order by 1", connection),
            Is.SupersetOf(["billing", "one", "two"]));
    }

    // A replica that could not reach the database has issued tokens for longer than 10 seconds.
    [TestCase("enabled", "set_client_enabled('enabled', false)", "select token_service.set_client_enabled('enabled', true)")]
    [TestCase("anew", "set_client_enabled('anew', false), token_service.delete_client('anew')",
        "insert into token_service.client (id, name) values ('anew', 'x')")]
    public async Task Enabling_or_making_a_client_again_ends_the_tokens_of_the_time_between(string id, string leave, string comeBack)
    {
        await CreateAsync(id);
        await Database.ExecuteAsync($"select token_service.{leave}; update token_service.tokens_not_before set not_before = {LongAgo}");
        await EndsAsync(comeBack, id, TimeSpan.Zero);

        // An instant that is later already stays.
        await Database.ExecuteAsync($"update token_service.tokens_not_before set not_before = '2040-01-01Z'; {comeBack}");
        Assert.That(await EndsAsync(), Is.EqualTo([$"{id} | 2040-01-01 00:00:00"]));
    }

    [TestCase("select token_service.update_client('billing', 'Another name', '10 minutes')")]
    [TestCase("update token_service.client set enabled = enabled")]
    [TestCase("insert into token_service.client (id, name, enabled) values ('made-disabled', 'x', false)")]
    [TestCase("update token_service.client set name = name where not enabled")]
    public async Task Other_changes_of_a_client_end_no_token(string change)
    {
        await Database.ExecuteAsync(change);
        Assert.That(await EndsAsync(), Is.Empty);
    }

    [Test]
    public async Task Revoked_tokens_are_deleted_an_hour_after_they_expire_and_ended_clients_after_25_hours()
    {
        // The rows are made in the transaction that deletes, so that now() is the same for both.
        const string Stored =
            """
            insert into token_service.revoked_token (jti, client_id, expires_at) values
                ('expired', 'billing', now() - interval '1 hour 1 microsecond'),
                ('forgiven', 'billing', now() - interval '1 hour'),
                ('alive', 'billing', now() + interval '1 hour');
            insert into token_service.self_revocation values
                ('past', now() - interval '25 hours 1 microsecond'),
                ('late', now() - interval '25 hours'),
                ('new', now());
            """;
        Assert.That(await DeleteAsync(100, Stored), Is.EqualTo(1));
        Assert.That(await LeftAsync(), Is.EqualTo(["alive", "forgiven", "late", "new"]));
        Assert.That(await DeleteAsync(100), Is.EqualTo(1));
        Assert.That(await LeftAsync(), Is.EqualTo(["alive", "new"]));
        Assert.That(await DeleteAsync(100), Is.Zero);
    }

    [TestCase("null")]
    [TestCase("-1")]
    [TestCase("0")]
    [TestCase("1001")]
    public async Task A_limit_outside_1_to_1000_is_refused(string limit)
    {
        await FillAsync(tokens: 2, clients: 2);
        await IsRefusedAsync(
            $"select token_service.delete_expired({limit})", PostgresErrorCodes.CheckViolation, "The limit is not 1 to 1000.",
            "Call it again as long as it deletes as many as the limit: there may be more.");
    }

    [Test]
    public async Task The_function_deletes_up_to_a_thousand_rows_at_once()
    {
        await FillAsync(tokens: 1001, clients: 0);
        Assert.That(await DeleteAsync(1000), Is.EqualTo(1000));
        Assert.That(await LeftAsync(), Is.EqualTo(["t1001"]));
    }

    [TestCase("")]
    [TestCase(UnluckyPlan)]
    public async Task The_function_deletes_at_most_the_limit_of_each_kind_with_the_oldest_first(string plan)
    {
        await FillAsync(tokens: 5, clients: 3);
        Assert.That(await DeleteAsync(2, plan), Is.EqualTo(2));
        Assert.That(await LeftAsync(), Is.EqualTo(["c3", "t3", "t4", "t5"]));
        // The function returns the larger of the two numbers, so that the caller knows whether there may be more.
        Assert.That(await DeleteAsync(2, plan), Is.EqualTo(2));
        Assert.That(await LeftAsync(), Is.EqualTo(["t5"]));
        Assert.That(await DeleteAsync(2, plan), Is.EqualTo(1));
        Assert.That(await LeftAsync(), Is.Empty);
    }

    [Test]
    public async Task The_function_skips_rows_that_another_transaction_has_locked()
    {
        await FillAsync(tokens: 3, clients: 2);
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var hold = new NpgsqlCommand(
            """
            select from token_service.revoked_token where jti = 't1' for update;
            select from token_service.self_revocation where client_id = 'c1' for update
            """, connection, transaction);
        await hold.ExecuteNonQueryAsync();

        // The deletion takes far less than 10 seconds. If it waited for the locked rows, this time-out would end it.
        Assert.That(await DeleteAsync(2, "set local lock_timeout = '10s';"), Is.EqualTo(2));
        Assert.That(await LeftAsync(), Is.EqualTo(["c1", "t1"]));

        await transaction.RollbackAsync();
        Assert.That(await DeleteAsync(2), Is.EqualTo(1));
        Assert.That(await LeftAsync(), Is.Empty);
    }

    // Makes rows that expired long ago. The row with the lowest number is the oldest.
    private Task FillAsync(int tokens, int clients) => Database.ExecuteAsync(
        $"""
        insert into token_service.revoked_token (jti, client_id, expires_at)
        select 't' || n, 'billing', now() - interval '2 days' + n * interval '1 second' from generate_series(1, {tokens}) n;
        insert into token_service.self_revocation
        select 'c' || n, now() - interval '2 days' + n * interval '1 second' from generate_series(1, {clients}) n
        """);

    private async Task<int> DeleteAsync(int limit, string settings = "")
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var command = new NpgsqlCommand(
            $"{settings} select token_service.delete_expired({limit})", connection, transaction);
        var deleted = (int)(await command.ExecuteScalarAsync())!;
        await transaction.CommitAsync();
        return deleted;
    }

    private Task<string[]> LeftAsync() => RowsAsync(
        "select jti as id from token_service.revoked_token union all select client_id from token_service.self_revocation order by id");

    private Task<string[]> EndsAsync() => RowsAsync(
        """
        select client_id, to_char(not_before at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')
        from token_service.tokens_not_before
        order by 1
        """);

    /// <summary>
    /// Asserts that a change ends the tokens of a client up to the moment of the change plus <paramref name="later"/>,
    /// in a transaction that began before. Undoes the change.
    /// </summary>
    private async Task EndsAsync(string change, string client, TimeSpan later)
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        async Task<DateTime> ReadAsync(string expression)
        {
            await using var command = new NpgsqlCommand($"select {expression}", connection, transaction);
            return (DateTime)(await command.ExecuteScalarAsync())!;
        }

        var before = await ReadAsync("clock_timestamp()");
        await using (var command = new NpgsqlCommand(change, connection, transaction))
            await command.ExecuteNonQueryAsync();
        var after = await ReadAsync("clock_timestamp()");
        var end = await ReadAsync($"not_before from token_service.tokens_not_before where client_id = '{client}'");

        Assert.That(end, Is.InRange(before + later, after + later));
    }

    private async Task CreateAsync(string id) => await Database.ExecuteAsync(
        "select token_service.create_client(@id, 'x', 'https://api.example.com', array['parcels:read'])", new { id });
}
