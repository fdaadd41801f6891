using System.Globalization;
using System.Text;
using TokenService.Commands;
using TokenService.Configuration;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Import;

/// <summary>The readers of exports take some forms of a file, and refuse all others.</summary>
[TestFixture]
public sealed class ExportFiles
{
    private string path = null!;

    [SetUp]
    public void NewFile() => path = Path.GetTempFileName();

    [TearDown]
    public void DeleteFile() => File.Delete(path);

    // RFC 4180 §2.
    [TestCase("", new string[0])]
    [TestCase("a,b\r\nc,d\r\n", new[] { "1:a|b", "2:c|d" })]
    [TestCase("a,b\nc,d", new[] { "1:a|b", "2:c|d" })]
    [TestCase("a,\n,b\n,", new[] { "1:a|", "2:|b", "3:|" })]
    [TestCase("\n\r\na\n\n\nb\n", new[] { "3:a", "6:b" })]
    [TestCase("\"a,b\",\"c\"\"d\",\"\"\n", new[] { "1:a,b|c\"d|" })]
    [TestCase("\"a\r\nb\",c\nd,e", new[] { "1:a\r\nb|c", "3:d|e" })]
    [TestCase(" a , b", new[] { "1: a | b" })]
    public void A_CSV_file_is_read(string text, string[] rows) =>
        Assert.That(Csv.Read(text).Select(row => $"{row.Line}:{string.Join('|', row.Fields)}"), Is.EqualTo(rows));

    [TestCase("a\nb\"c", "Line 2 of the file has a quotation mark inside a field that does not begin with one.")]
    [TestCase("a\n\"b\"c", "Line 2 of the file has text after the quotation mark that ends a field.")]
    [TestCase("a\n\"b\n\nc", "Line 2 of the file has a field whose quotation mark is never closed.")]
    [TestCase("a\rb", "Line 1 of the file has a carriage return that does not end it.")]
    public void A_malformed_CSV_file_is_refused(string text, string message) =>
        Assert.That(() => Csv.Read(text).ToList(), Throws.TypeOf<OperatorException>().With.Message.EqualTo(message));

    [Test]
    public void A_field_that_is_quoted_is_read_as_it_was()
    {
        var random = new Random(20261130);
        for (var i = 0; i < 1000; i++)
        {
            string[] fields =
                [.. Enumerable.Range(0, random.Next(1, 5)).Select(_ => new string(random.GetItems<char>("ab,\"\r\n "
                    + "é", random.Next(1, 9))))];
            var text = string.Join(',', fields.Select(Csv.Quoted));
            Assert.That(Csv.Read(text + "\r\n").Single().Fields, Is.EqualTo(fields), text);
        }
    }

    [TestCase("keycloak", "", "FILE is not JSON: see line 1, byte 1.")]
    [TestCase("keycloak", "{\"clients\": [\n  {\"clientId\": \"a\",, \"secret\": \"hidden\"}]}", "FILE is not JSON: see line 2, "
        + "byte 20.")]
    [TestCase("keycloak", "{\"clients\": [{\"clientId\": \"a\", \"clientId\": \"b\"}]}", "FILE is not JSON: an object has two "
        + "members of the same name.")]
    [TestCase("keycloak", "{\"realm\": \"a\"}", "In the file, the whole is not a realm with \"clients\".")]
    [TestCase("keycloak", "[{\"realm\": \"a\"}, {\"realm\": \"b\"}]",
        "FILE has 2 realms. Export one: kc.sh export --dir DIR --realm NAME --users realm_file")]
    [TestCase("keycloak", "{\"clients\": {}}", "In the file, clients is not an array.")]
    [TestCase("keycloak", "{\"clients\": [{\"clientId\": \"a\"}, {}]}", "In the file, clients[1] is not an object with a clientId.")]
    [TestCase("keycloak", "{\"clients\": [{\"clientId\": \"a\", \"serviceAccountsEnabled\": true, \"secret\": [\"hidden\"]}]}",
        "In the file, clients[0].secret is not a string.")]
    [TestCase("keycloak", "{\"clients\": [{\"clientId\": \"\\ud800\"}]}", "In the file, clients[0].clientId is not valid text.")]
    [TestCase("keycloak", "{\"clients\": [{\"clientId\": \"a\", \"publicClient\": 1}]}", "In the file, clients[0].publicClient is "
        + "not true or false.")]
    [TestCase("auth0", "[]", "In the file, the whole is not an object.")]
    [TestCase("auth0", "{\"clients\": [{\"name\": \"a\"}]}",
        "In the file, clients[0] is not an object with a client_id. Export with identifiers: AUTH0_EXPORT_IDENTIFIERS=true for the "
            + "Deploy "
        + "CLI, or the Management API.")]
    [TestCase("hydra", "{}", "In the file, the whole is not an array of clients, nor an object with \"items\".")]
    [TestCase("hydra", "[{\"client_id\": \"a\", \"grant_types\": \"client_credentials\"}]", "In the file, [0].grant_types is not an "
        + "array.")]
    [TestCase("csv", "", "The first row of FILE does not name a column client_id. The columns are: client_id, name, secret, "
        + "resource, scopes, "
        + "default_scopes, methods, enabled, token_lifetime, extra_claims.")]
    [TestCase("csv", "client_id,hidden\n", "Column 2 of FILE has an unknown name. The columns are: client_id, name, secret, "
        + "resource, scopes, "
        + "default_scopes, methods, enabled, token_lifetime, extra_claims.")]
    [TestCase("csv", "client_id,client_id\n", "The first row of FILE names a column twice.")]
    [TestCase("csv", "client_id,secret\na\n", "Line 2 of the file has 1 fields, and the first row has 2.")]
    [TestCase("csv", "client_id,secret\na,hidden\n\na,hidden\n",
        "Line 4 of the file is another row of the client in line 2, and may have only client_id, resource, scopes, default_scopes.")]
    [TestCase("csv", "client_id,scopes,default_scopes\na,b,c\n", "Line 2 of the file has a default scope that is not among its scopes.")]
    [TestCase("csv", "client_id,enabled\na,perhaps\n", "Line 2 of the file has an \"enabled\" that is neither true nor false.")]
    [TestCase("csv", "client_id,token_lifetime\na,1 h\n", "Line 2 of the file has a token_lifetime that is not a number of seconds.")]
    [TestCase("csv", "client_id,extra_claims\na,[]\n", "Line 2 of the file has extra_claims that are not a JSON object.")]
    [TestCase("csv", "client_id,extra_claims\na,hidden\n", "Line 2 of the file has extra_claims that are not JSON.")]
    public void A_file_of_another_form_is_refused_by_its_place_and_without_its_values(string from, string content, string message)
    {
        File.WriteAllText(path, content);
        var refusal = Assert.Throws<OperatorException>(() => Options(from).Read())!;
        Assert.That(refusal.Message.Replace(path, "FILE", StringComparison.Ordinal), Is.EqualTo(message));
        Assert.That(refusal.Message, Does.Not.Contain("hidden"));
    }

    [Test]
    public void A_file_that_is_not_UTF8_is_refused()
    {
        File.WriteAllBytes(path, [.. "client_id\na"u8, 0xE9]);
        Assert.That(() => Options("csv").Read(), Throws.TypeOf<OperatorException>().With.Message.EqualTo($"{path} is not UTF-8 (at "
            + $"byte 11)."));
    }

    [Test]
    public void A_file_that_is_too_long_is_refused_before_it_is_read()
    {
        using (var file = File.OpenWrite(path))
            file.SetLength((128 * 1024 * 1024) + 1);
        Assert.That(() => Options("csv").Read(), Throws.TypeOf<OperatorException>().With.Message.Contains("more than 128 MiB"));
    }

    [Test]
    public void At_most_100000_clients_are_read()
    {
        File.WriteAllText(path, "client_id\n" + string.Concat(Enumerable.Range(0, 100_001).Select(n => $"c{n}\n")));
        Assert.That(() => Options("csv").Read(), Throws.TypeOf<OperatorException>().With.Message.EqualTo(
            $"{path} has 100001 clients. Split it: at most 100000 are read at once."));
    }

    [Test]
    public void A_byte_order_mark_is_skipped()
    {
        File.WriteAllText(path, "client_id\na\n", new UTF8Encoding(encoderShouldEmitUTF8Identifier: true));
        Assert.That(Options("csv").Read().Clients.Single().Id, Is.EqualTo("a"));
        File.WriteAllText(path, "{\"clients\": []}", new UTF8Encoding(encoderShouldEmitUTF8Identifier: true));
        Assert.That(Options("keycloak").Read().Clients, Is.Empty);
    }

    // As Go writes a duration; kcadm.sh prints an array of clients.
    [TestCase("1h0m0s", 3600)]
    [TestCase("90m", 5400)]
    [TestCase("24h", 86400)]
    [TestCase("59s", null)]
    [TestCase("24h0m1s", null)]
    [TestCase("a while", null)]
    public void The_lifetime_of_Hydras_tokens_is_read(string lifespan, int? seconds)
    {
        File.WriteAllText(path, $$"""
            [{"client_id": "a", "grant_types": ["client_credentials"], "client_credentials_grant_access_token_lifespan": "{{lifespan}}"}]
            """);
        var client = Options("hydra").Read().Clients.Single();
        Assert.That((client.TokenLifetimeSeconds, client.Warnings.Count), Is.EqualTo((seconds, seconds is null ? 1 : 0)));
    }

    [Test]
    public void The_array_of_clients_that_kcadm_prints_is_read()
    {
        File.WriteAllText(path, """
            [{"clientId": "account"}, {"clientId": "a", "secret": "a secret of sixteen", "serviceAccountsEnabled": true,
              "defaultClientScopes": ["email", "read"]}]
            """);
        var client = Options("keycloak").Read().Clients.Single();
        Assert.That((client.Id, client.Secret, client.Grants.Single()), Is.EqualTo(
            ("a", "a secret of sixteen", new ImportedGrant(null, "read", IsDefault: true))));
    }

    [TestCase("", "--from is missing: keycloak, auth0, hydra, csv.")]
    [TestCase("--from", "--from needs a value.")]
    [TestCase("--from okta f", "The value of --from is not one that it takes.")]
    [TestCase("--from csv", "The file to read is missing.")]
    [TestCase("--from csv f g", "There is more than one file.")]
    [TestCase("--from csv f --force x", "There is no option --force.")]
    [TestCase("--from csv f --cores 0", "The value of --cores is not one that it takes.")]
    [TestCase("--from csv f --cores 4096", "The value of --cores is not one that it takes.")]
    [TestCase("--from csv f --rename a", "The value of --rename is not one that it takes.")]
    [TestCase("--from csv f --default-scopes some", "The value of --default-scopes is not one that it takes.")]
    public void A_wrong_command_line_is_refused(string args, string message)
    {
        Assert.That(ImportOptions.Parse(args.Split(' ', StringSplitOptions.RemoveEmptyEntries), out var wrong), Is.Null);
        Assert.That(wrong, Is.EqualTo(message));
    }

    [Test]
    public async Task A_wrong_command_has_an_exit_code_of_its_own()
    {
        var tool = await Tool.TokenServiceAsync(["import"]);
        Assert.That((tool.ExitCode, tool.Error.TrimEnd()), Is.EqualTo(
            (2, "--from is missing: keycloak, auth0, hydra, csv. See: TokenService import --help")));
        Assert.That((await Tool.TokenServiceAsync(["import", "--help"])).Output, Does.StartWith("usage: TokenService import "));
    }

    [Test]
    public void Progress_is_rewritten_on_a_terminal_and_a_line_every_10_seconds_elsewhere()
    {
        var clock = new FakeClock();
        var (terminal, file) = (new StringWriter(CultureInfo.InvariantCulture), new StringWriter(CultureInfo.InvariantCulture));
        var (bar, lines) = (new ImportProgress(terminal, true, 300, clock), new ImportProgress(file, false, 300, clock));
        for (var done = 1; done <= 300; done++)
        {
            clock.Advance(TimeSpan.FromSeconds(0.1));
            bar.Report(done);
            lines.Report(done);
        }

        bar.End();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(terminal.ToString().Split('\r')[1], Is.EqualTo("[..............................] 2 of 300 clients, 10.0 a "
                + "second, 30 s left\e[K"));
            Assert.That(terminal.ToString(), Does.EndWith("\r[##############################] 300 of 300 clients, 10.0 a second, 0 "
                + "s left\e[K\n"));
            Assert.That(file.ToString(), Is.EqualTo(
                "100 of 300 clients, 10.0 a second, 20 s left\n200 of 300 clients, 10.0 a second, 10 s left\n"
                + "300 of 300 clients, 10.0 a second, 0 s left\n"));
        }
    }

    private ImportOptions Options(string from) => ImportOptions.Parse(["--from", from, path], out _)!;
}
