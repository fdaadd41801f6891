using Npgsql;

namespace TokenService.Tests.Harness;

/// <summary>A database on which tests call the functions of administration, and the assertions on a refusal.</summary>
public abstract class AdminFixture
{
    protected const string Plaintext = "a plaintext secret, pasted by mistake";

    protected const string Digest =
        "'$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JVe9Zxzthx1TW+yJ0WQsnjyV8bZaqyPptE'";

    protected const string ScopeGrammar =
        "A scope is 1 to 128 printable ASCII characters without space, quotation mark and backslash (RFC 6749 §3.3).";

    private const string HowToDigest =
        "Make one with \"TokenService secret new\", or digest a secret you already have with \"TokenService secret hash\". "
        + "Never store a secret itself: if one was pasted here, treat it as leaked.";

    /// <summary>Values that are no scope-token (RFC 6749 §3.3).</summary>
    protected static string[] NotScopes { get; } = ["''", "'a b'", "'a\"b'", "'a\\b'", "'é'", "E'a\\n'", "repeat('a', 129)"];

    /// <summary>Values that are neither an absolute URI without a fragment (RFC 8707 §2) nor a plain name.</summary>
    protected static string[] NotResources { get; } =
    [
        "''", "'https:'", "':name'", "'1https://a'", "'https://a#b'", "'https://a b'", "'https://a/é'", "E'https://a\\n'",
        "'https://' || repeat('a', 249)", "'na me'", "'name#part'", "'na\"me'", "'né'", "E'name\\n'", "repeat('a', 257)",
        "'tsvc_BBBBBBBBBBBB_secret'",
    ];

    private protected Database Database { get; private set; } = null!;

    /// <summary>
    /// The database has the client "billing", which holds "parcels:read" of https://api.example.com and has the secret
    /// "UsedUsedUsed".
    /// </summary>
    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        Database = await Database.CreateAsync();
        await Database.ExecuteAsync(
            $"""
            select token_service.create_client(
                'billing', 'The billing service', 'https://api.example.com', array['parcels:read']);
            select token_service.add_secret('billing', 'UsedUsedUsed', {Digest})
            """);
    }

    [OneTimeTearDown]
    public async Task DropDatabase() => await Database.DisposeAsync();

    /// <summary>JSON whose innermost value, 1, stands inside <paramref name="levels"/> objects or lists.</summary>
    protected static string Nested(string open, int levels, string close) =>
        string.Concat([.. Enumerable.Repeat(open, levels), "1", .. Enumerable.Repeat(close, levels)]);

    /// <summary>A call of a function, with its arguments as SQL.</summary>
    protected static string Call(string function, Dictionary<string, string> arguments) =>
        $"select token_service.{function}({string.Join(", ", arguments.Select(a => $"{a.Key} => {a.Value}"))})";

    /// <summary>One argument, the values it is spoiled with, and how each is refused.</summary>
    protected static IEnumerable<TestCaseData> Refused(string argument, string[] values, string state, string message, string hint) =>
        values.Select(value => new TestCaseData(argument, value, state, message, hint).SetArgDisplayNames(argument, value));

    protected static IEnumerable<TestCaseData> RefusedClientIds() =>
    [
        .. UnknownClient("null", ""), .. UnknownClient("'nobody'", "nobody"), .. UnknownClient("'tsvc_BBBBBBBBBBBB'", "tsvc_…"),
    ];

    protected static IEnumerable<TestCaseData> RefusedSecretsOf(string client) =>
    [
        .. Refused("p_digest", ["null", "''", $"'{Plaintext}'"],
            PostgresErrorCodes.CheckViolation, $"The digest of client \"{client}\" is not an Argon2id digest.", HowToDigest),
        .. Refused("p_secret_id", ["null"],
            PostgresErrorCodes.NullValueNotAllowed, $"The digest of client \"{client}\" comes without its secret_id.",
            "Pass digest and secret_id together, as \"TokenService secret new\" or \"TokenService secret hash\" printed them."),
        .. Refused("p_secret_id",
            ["''", "'AAAAAAAAAAA'", "'AAAAAAAAAAAAA'", "'AAAAAAAAAAA_'", "'Imported_AAAAAAAAAAAA'", "E'AAAAAAAAAAAA\\n'", $"'{Plaintext}'"],
            PostgresErrorCodes.CheckViolation, $"The secret_id of client \"{client}\" is not one that TokenService made.",
            "Pass the secret_id that was printed beside the digest."),
        .. Refused("p_secret_id", ["'UsedUsedUsed'"],
            PostgresErrorCodes.UniqueViolation, "The secret_id \"UsedUsedUsed\" is in use already.",
            "Each secret is added once. Make a fresh one with \"TokenService secret new\"."),
    ];

    protected Task IsRefusedAsync(string call, string state, string message, string hint) =>
        IsRefusedAsync(() => Database.ExecuteAsync(call), state, message, hint);

    private protected async Task IsRefusedAsync(Func<Task> call, string state, string message, string hint)
    {
        var before = await ContentsAsync();
        var refusal = (await Assert.ThrowsAsync<PostgresException>(() => call()))!;

        using (Assert.EnterMultipleScope())
        {
            Assert.That(refusal.MessageText, Is.EqualTo(message));
            Assert.That(refusal.Hint, Is.EqualTo(hint));
            Assert.That(refusal.SqlState, Is.EqualTo(state));
            // The log of PostgreSQL and the terminal of the admin keep each of these texts.
            Assert.That(
                string.Join('\n', refusal.MessageText, refusal.Detail, refusal.Hint, refusal.Where, refusal.InternalQuery),
                Does.Not.Contain(Plaintext));
            Assert.That(await ContentsAsync(), Is.EqualTo(before), "the call changed no row");
        }
    }

    /// <summary>Asserts that a statement changes no row, which includes the audit log.</summary>
    protected async Task ChangesNothingAsync(string sql)
    {
        var before = await ContentsAsync();
        await Database.ExecuteAsync(sql);
        Assert.That(await ContentsAsync(), Is.EqualTo(before), "the call changed no row");
    }

    /// <summary>Runs a statement, and returns what psql would show as warnings with their hints.</summary>
    protected async Task<string[]> WarningsOfAsync(string sql)
    {
        var warnings = new List<string>();
        await using var connection = await Database.Source.OpenConnectionAsync();
        connection.Notice += (_, e) => warnings.Add($"{e.Notice.InvariantSeverity}: {e.Notice.MessageText} {e.Notice.Hint}");
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
        return [.. warnings];
    }

    /// <summary>
    /// The rows that a query returns: one line for each, its columns separated by " | ", null as "-".
    /// </summary>
    protected async Task<string[]> RowsAsync(string sql)
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        return await RowsAsync(sql, connection);
    }

    protected static async Task<string[]> RowsAsync(string sql, NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await using var reader = await command.ExecuteReaderAsync();
        var rows = new List<string>();
        while (await reader.ReadAsync())
        {
            var columns = Enumerable.Range(0, reader.FieldCount).Select(column => reader.IsDBNull(column) ? "-" : $"{reader[column]}");
            rows.Add(string.Join(" | ", columns));
        }

        return [.. rows];
    }

    // The rows of every table of the schema, also of tables that are added later.
    private Task<string?> ContentsAsync() => Database.ReadAsync<string>(
        """
        select string_agg(
            query_to_xml(format('select * from %s t order by t::text', oid::regclass), true, false, '')::text, '' order by oid)
        from pg_class
        where relnamespace = 'token_service'::regnamespace
          and relkind = 'r'
        """);

    private static IEnumerable<TestCaseData> UnknownClient(string value, string shown) => Refused("p_client_id", [value],
        PostgresErrorCodes.NoDataFound, $"There is no client \"{shown}\".",
        "scripts/list-clients.sql shows those there are, scripts/create-client.sql makes one.");
}
