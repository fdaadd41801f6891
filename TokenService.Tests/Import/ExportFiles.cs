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
    [TestCase("keycloak", "{\"clients\": [{\"\\ud800\": 1}]}", "FILE is not JSON: an object has a member whose name is not valid text.")]
    [TestCase("keycloak", "{\"clients\": [], \"clientScopes\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}",
        "In the file, clientScopes[1] is not the only one of its name.")]
    [TestCase("keycloak", "{\"clients\": [], \"clientScopeMappings\": {\"\\u001b[2J\\u202e\": 1}}",
        "In the file, clientScopeMappings.?[2J? is not an array.")]
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

    // An admin who decrypts an export need not write it to a disk.
    [Test]
    public async Task A_pipe_is_read()
    {
        var pipe = path + ".pipe";
        using var made = System.Diagnostics.Process.Start("mkfifo", pipe);
        await made.WaitForExitAsync();
        try
        {
            // Opening a pipe for writing waits for its reader.
            var writing = Task.Run(() => File.WriteAllText(pipe, "client_id\na\n"));
            var export = ImportOptions.Parse(["--from", "csv", pipe], out _)!.Read();
            await writing;
            Assert.That(export.Clients.Single().Id, Is.EqualTo("a"));
        }
        finally
        {
            File.Delete(pipe);
        }
    }

    // A user of the tenant who may rename a client must not get the grants of another client by its name.
    [Test]
    public void A_grant_of_Auth0_belongs_to_the_client_of_its_id_and_of_a_name_only_where_one_client_has_it()
    {
        File.WriteAllText(path, """
            {
              "clients": [
                {"client_id": "payroll-id", "name": "payroll", "grant_types": ["client_credentials"], "client_secret": "a secret of sixteen"},
                {"client_id": "evil-id", "name": "payroll-id", "grant_types": ["client_credentials"], "client_secret": "a secret of sixteen"},
                {"client_id": "twin-1", "name": "twin", "grant_types": ["client_credentials"], "client_secret": "a secret of sixteen"},
                {"client_id": "twin-2", "name": "twin", "grant_types": ["client_credentials"], "client_secret": "a secret of sixteen"}
              ],
              "clientGrants": [
                {"client_id": "payroll-id", "audience": "https://pay.example", "scope": ["pay:write"]},
                {"client_id": "payroll", "audience": "https://named.example", "scope": ["named"]},
                {"client_id": "twin", "audience": "https://twin.example", "scope": ["twin"]},
                {"client_id": "payroll-id", "audience": "https://people.example", "scope": ["people"], "subject_type": "user"},
                {"audience": "https://all.example", "scope": ["all"], "default_for": "third_party_clients"}
              ]
            }
            """);
        var export = Options("auth0").Read();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(
                export.Clients.SelectMany(client => client.Grants.Select(grant => $"{client.Id} {grant.Scope}")),
                Is.EqualTo(["payroll-id pay:write", "payroll-id named"]));
            Assert.That(export.Notes, Is.EqualTo(
            [
                "2 client grants do not come along: they are for people, or for all third-party clients.",
                "clientGrants[2]: the client of such a grant is not in the file, or several have its name.",
            ]));
        }
    }

    // The import gives a client no more than Keycloak did.
    [Test]
    public void A_client_of_Keycloak_gets_no_more_than_it_had_there()
    {
        File.WriteAllText(path, """
            {
              "realm": "r",
              "clients": [
                {"clientId": "off", "serviceAccountsEnabled": true, "secret": "a secret of sixteen"},
                {"clientId": "narrow", "serviceAccountsEnabled": true, "secret": "a secret of sixteen", "fullScopeAllowed": false,
                 "defaultClientScopes": ["extra"]},
                {"clientId": "expired", "serviceAccountsEnabled": true, "secret": "a secret of sixteen",
                 "attributes": {"client.secret.expiration.time": "1700000000"}}
              ],
              "clientScopes": [{"name": "extra", "attributes": {"include.in.token.scope": "false"}}],
              "scopeMappings": [{"client": "narrow", "roles": ["seen"]}],
              "clientScopeMappings": {"api": [{"client": "narrow", "roles": ["read"]}, {"clientScope": "extra", "roles": ["list"]}]},
              "users": [
                {"serviceAccountClientId": "off", "enabled": false},
                {"serviceAccountClientId": "narrow", "realmRoles": ["seen", "unseen"], "clientRoles": {"api": ["read", "list", "write"]}}
              ]
            }
            """);
        var clients = Options("keycloak").Read().Clients.ToDictionary(client => client.Id);

        using (Assert.EnterMultipleScope())
        {
            Assert.That((clients["off"].IsEnabled, clients["narrow"].IsEnabled), Is.EqualTo((false, true)));
            Assert.That(clients["narrow"].Grants.Select(grant => grant.Scope), Is.EqualTo(["read", "list"]));
            Assert.That(clients["narrow"].Claims, Is.EqualTo(
                """{"realm_access":{"roles":["seen"]},"resource_access":{"api":{"roles":["read","list"]}}}"""));
            Assert.That((clients["expired"].Secret, clients["expired"].WhyNewSecret), Is.EqualTo(((string?)null, "it has expired")));
        }
    }

    [Test]
    public void A_claim_that_cannot_be_brought_is_left_out()
    {
        var deep = string.Join('.', Enumerable.Range(0, 9).Select(n => $"n{n}"));
        File.WriteAllText(path, $$$"""
            {"clients": [{"clientId": "a", "serviceAccountsEnabled": true, "secret": "a secret of sixteen", "protocolMappers": [
              {"name": "twice", "protocolMapper": "oidc-hardcoded-claim-mapper", "config": {"access.token.claim": "true",
               "claim.name": "x", "jsonType.label": "JSON", "claim.value": "{\"y\":1,\"y\":2}"}},
              {"name": "deep", "protocolMapper": "oidc-hardcoded-claim-mapper", "config": {"access.token.claim": "true",
               "claim.name": "{{{deep}}}", "claim.value": "1"}}]}]}
            """);
        var client = Options("keycloak").Read().Clients.Single();
        Assert.That((client.Claims, client.Warnings.Count(warning => warning.StartsWith("the hard-coded", StringComparison.Ordinal))), Is.EqualTo(("{}", 2)));
    }

    [Test]
    public void A_client_of_a_CSV_file_has_at_most_1000_scopes()
    {
        File.WriteAllText(path, "client_id,resource,scopes\n" + string.Concat(Enumerable.Range(0, 1001).Select(n => $"a,api,s{n}\n")));
        Assert.That(() => Options("csv").Read(), Throws.TypeOf<OperatorException>().With.Message.EqualTo(
            "Line 1002 of the file is one too many: a client has at most 1000 scopes."));
    }

    [TestCase("pay=https://api.x.com/?tenant=1", "pay", "https://api.x.com/?tenant=1")]
    [TestCase("a=b=https://api.x.com", "a=b", "https://api.x.com")]
    [TestCase("pay=payments", "pay", "payments")]
    public void A_mapping_is_divided_before_its_resource(string value, string name, string resource) =>
        Assert.That(
            ImportOptions.Parse(["--from", "csv", "--map", value, "f"], out _)!.Resources.Single(),
            Is.EqualTo(KeyValuePair.Create(name, resource)));

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
    [TestCase("59s", 60)]
    [TestCase("24h0m1s", 86400)]
    [TestCase("a while", null)]
    public void The_lifetime_of_Hydras_tokens_is_read(string lifespan, int? seconds)
    {
        File.WriteAllText(path, $$"""
            [{"client_id": "a", "grant_types": ["client_credentials"], "client_credentials_grant_access_token_lifespan": "{{lifespan}}"}]
            """);
        var client = Options("hydra").Read().Clients.Single();
        Assert.That((client.TokenLifetimeSeconds, client.Warnings.Count), Is.EqualTo((seconds, lifespan is "59s" or "24h0m1s" or "a while" ? 1 : 0)));
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
    [TestCase("--from csv f --resource a --resource b", "--resource may be given once.")]
    [TestCase("--from csv f --from csv", "--from may be given once.")]
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
