using System.Globalization;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>
/// An operator lists, rotates, reseals and withdraws signing keys, with the built program and with psql.
/// </summary>
[TestFixture]
public sealed class KeyCommands
{
    private const string SealingKey = "c2VhbGluZy1rZXktb2YtdGhlLXRlc3RzLTMyLWJ5dGU="; // as in the harness
    private const string NewSealingKey = "YW5vdGhlci1zZWFsaW5nLWtleS1vZi10ZXN0cy0zMmI=";
    private const string Unknown = "HINT:  TokenService keys list shows the keys there are.\n";

    private Database database = null!;

    [SetUp]
    public async Task CreateDatabase() => database = await Database.CreateAsync();

    [TearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [Test]
    public async Task Keys_list_shows_the_state_and_dates_of_each_key()
    {
        var hour = DateTime.UtcNow.Date.AddHours(DateTime.UtcNow.Hour);
        await InsertAsync("forgotten", "ES256", hour.AddDays(-60), until: hour.AddDays(-40), privateHalf: null);
        await InsertAsync("gone", "ES256", hour.AddDays(-40), until: hour.AddDays(-20), privateHalf: null);
        await InsertAsync("retiring", "ES256", hour.AddDays(-20), until: hour.AddHours(-2));
        await InsertAsync("signing", "ES256", hour.AddHours(-2), until: hour.AddDays(10));
        await InsertAsync("withdrawn", "RS256", hour.AddHours(-1), withdrawn: hour, privateHalf: null);
        await InsertAsync("next-srxYPoL00wspR6G-mxfXoL8UbuG8j1GAfmjt3x", "ES384", hour.AddDays(10));

        // Listing needs no sealing key, so none is configured here.
        var tool = await KeysAsync("list");

        Assert.That((tool.ExitCode, tool.Error), Is.EqualTo((0, "")));
        Assert.That(tool.Output.TrimEnd('\n').Split('\n'), Is.EqualTo(
        [
            "kid                                          algorithm  state      "
                + "signs from            signs until           gone after            sealed by",
            $"gone                                         ES256      gone       {At(-40)}  {At(-20)}  {At(-20, 12.25)}  -",
            $"retiring                                     ES256      retiring   {At(-20)}  {At(0, -2)}  {At(0, 10.25)}  test",
            $"signing                                      ES256      signing    {At(0, -2)}  {At(10)}  {At(10, 12.25)}  test",
            $"withdrawn                                    RS256      withdrawn  {At(0, -1)}  -                     {At(0)}  -",
            $"next-srxYPoL00wspR6G-mxfXoL8UbuG8j1GAfmjt3x  ES384      next       "
                + $"{At(10)}  -                     -                     test",
        ]));

        string At(int days, double hours = 0) => Date(hour.AddDays(days).AddHours(hours));
    }

    [Test]
    public async Task Keys_rotate_prints_which_keys_sign_next_and_from_when()
    {
        await StartOnceAsync();
        var kid = await NextAsync();
        var knownFrom = await database.ReadAsync<DateTime>("select max(known_from) from token_service.signing_key");

        // A second call changes nothing and prints the same.
        for (var call = 0; call < 2; call++)
        {
            var tool = await KeysAsync("rotate");
            Assert.That(
                (tool.ExitCode, tool.Error, tool.Output),
                Is.EqualTo((0, "", $"{kid} (ES256) signs from {Date(knownFrom)}\n")));
        }

        Assert.That(
            await database.ReadAsync<DateTime>("select max(signs_from) from token_service.signing_key"),
            Is.EqualTo(knownFrom));
    }

    [Test]
    public async Task Keys_rotate_fails_when_there_is_no_key()
    {
        var tool = await KeysAsync("rotate");

        Assert.That((tool.ExitCode, tool.Output), Is.EqualTo((1, "")));
        Assert.That(tool.Error, Does.Contain("There is no signing key of that algorithm."));
    }

    [Test]
    public async Task Keys_reseal_seals_every_key_with_the_current_sealing_key_and_the_old_one_can_be_removed()
    {
        await StartOnceAsync();
        (string, string)[] both =
        [
            ("Keys__SealingKeys__test", SealingKey), ("Keys__SealingKeys__new", NewSealingKey), ("Keys__SealingKeyId", "new"),
        ];

        var first = await KeysAsync("reseal", both);
        var second = await KeysAsync("reseal", both);

        using (Assert.EnterMultipleScope())
        {
            Assert.That((first.ExitCode, first.Error), Is.EqualTo((0, "")));
            Assert.That(first.Output.TrimEnd('\n').Split('\n'), Is.EquivalentTo(
                (await KidsAsync()).Select(kid => $"{kid} is now sealed with new")).And.Length.EqualTo(2));
            Assert.That((second.ExitCode, second.Error, second.Output), Is.EqualTo((0, "", "all keys are sealed with new\n")));
        }

        // The old id now names a key that sealed nothing: the server starts only if it does not need the old key.
        await using var server = await TestServer.StartAsync(
            database, $"Keys:SealingKeys:new={NewSealingKey}", "Keys:SealingKeyId=new", $"Keys:SealingKeys:test={NewSealingKey}");
        Assert.That((await PublishedKey.ReadAllAsync(server)).Select(key => key.Kid), Is.EquivalentTo(await KidsAsync()));
    }

    [Test]
    public async Task Keys_reseal_without_the_old_sealing_key_names_that_key_and_changes_nothing()
    {
        await StartOnceAsync();

        var tool = await KeysAsync("reseal", ("Keys__SealingKeys__new", NewSealingKey));

        Assert.That((tool.ExitCode, tool.Output), Is.EqualTo((1, "")));
        Assert.That(tool.Error, Does.Match(
            "^The signing key .{43} is sealed with the sealing key \"test\", which is not configured. "
            + "Set Keys:SealingKeys:test or Keys:SealingKeyFiles:test.\n$"));
        Assert.That(
            await database.ReadAsync<string>("select string_agg(distinct sealing_key_id, ' ') from token_service.signing_key"),
            Is.EqualTo("test"));
    }

    [TestCase("")]
    [TestCase("alg=ES256")]
    public async Task The_rotation_script_shows_the_key_that_signs_next(string variable)
    {
        await StartOnceAsync();

        var psql = await Psql.ScriptAsync(
            database, "rotate-signing-key.sql", variable.Length > 0 ? [variable] : [], "--tuples-only", "--no-align");

        using (Assert.EnterMultipleScope())
        {
            Assert.That((psql.ExitCode, psql.Error), Is.EqualTo((0, "")));
            Assert.That(psql.Output, Does.StartWith($"{await NextAsync()}|ES256|").And.Length.LessThan(90));
            Assert.That(
                await database.ReadAsync<bool>(
                    "select max(signs_from) = max(known_from) from token_service.signing_key"),
                Is.True);
        }
    }

    [Test]
    public async Task The_rotation_script_refuses_an_algorithm_without_keys()
    {
        await StartOnceAsync();

        IsRefused(
            await Psql.ScriptAsync(database, "rotate-signing-key.sql", ["alg=PS256"]),
            $"ERROR:  There is no signing key of that algorithm.\n{Unknown}");
    }

    [Test]
    public async Task The_withdrawal_script_withdraws_a_key_and_shows_the_others()
    {
        await StartOnceAsync();
        var (withdrawn, next) = ((await KidsAsync())[0], await NextAsync());

        var psql = await Psql.ScriptAsync(
            database, "withdraw-signing-key.sql", [$"kid={withdrawn}"], "--tuples-only", "--no-align");

        using (Assert.EnterMultipleScope())
        {
            Assert.That((psql.ExitCode, psql.Error), Is.EqualTo((0, "")));
            Assert.That(
                psql.Output.TrimEnd('\n').Split('\n').Select(line => line.Split('|')[0]),
                Is.EquivalentTo([withdrawn, next]));
            Assert.That(
                await database.ReadAsync<string>("select kid from token_service.signing_key where withdrawn_at is not null"),
                Is.EqualTo(withdrawn));
        }
    }

    [TestCase("kid=unknown")]
    [TestCase("kid='; drop schema token_service cascade; --")]
    [TestCase("")]
    public async Task The_withdrawal_script_refuses_an_unknown_kid(string variable) =>
        IsRefused(
            await Psql.ScriptAsync(database, "withdraw-signing-key.sql", variable.Length > 0 ? [variable] : []),
            $"ERROR:  There is no signing key of that kid.\n{Unknown}");

    private static void IsRefused(Tool psql, string message)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((psql.ExitCode, psql.Output), Is.EqualTo((Psql.ScriptFailed, "")));
            Assert.That(psql.Error, Does.Contain(message));
        }
    }

    // Starts a server, which makes its two keys, and stops it. Its clock is a minute ahead of the programs' clock.
    private async Task StartOnceAsync()
    {
        await using var server = await TestServer.StartAsync(database);
    }

    private Task<Tool> KeysAsync(string command, params (string, string)[] settings) => Tool.TokenServiceAsync(
        ["keys", command], environment: [("ConnectionStrings__TokenService", database.ConnectionString), .. settings]);

    private Task<string?> NextAsync() =>
        database.ReadAsync<string>("select kid from token_service.signing_key where signs_until is null");

    private async Task<string[]> KidsAsync() =>
        (await database.ReadAsync<string[]>("select array_agg(kid order by signs_from) from token_service.signing_key"))!;

    // The longest token of the inserted key lives 12 hours.
    private Task InsertAsync(
        string kid, string algorithm, DateTime from, DateTime? until = null, DateTime? withdrawn = null, string? privateHalf = "sealed") =>
        database.ExecuteAsync(
            """
            insert into token_service.signing_key (
                kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, signs_from, signs_until, withdrawn_at,
                jwks_max_age_seconds, max_token_lifetime_seconds)
            values (@kid, @algorithm, '{}', @privateHalf::bytea, 'test', @from, @from, @from, @until, @withdrawn, 300, 43200)
            """,
            new { kid, algorithm, from, until, withdrawn, privateHalf });

    private static string Date(DateTime date) => date.ToString("u", CultureInfo.InvariantCulture);
}
