using TokenService.Postgres;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>The built program, run as an operator or admin runs it.</summary>
[TestFixture]
public sealed class CommandLine
{
    private static readonly (string, string)[] Cheap = [("Hashing__MemoryKiB", "8192"), ("Hashing__Iterations", "1")];

    [Test]
    public async Task Secret_new_prints_a_secret_its_id_and_its_digest()
    {
        var tool = await Tool.TokenServiceAsync(["secret", "new"], environment: Cheap);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(tool.ExitCode, Is.Zero);
            Assert.That(tool.Error, Is.Empty);
            Assert.That(Names(tool), Is.EqualTo(["secret_id", "digest", "client_secret"]));
            Assert.That(GeneratedSecret.TryParse(tool.Value("client_secret"), out var secret), Is.True);
            Assert.That(tool.Value("secret_id"), Is.EqualTo(secret?.Selector));
            Assert.That(tool.Value("digest"), Does.StartWith("$argon2id$v=19$m=8192,t=1,p=1$"));
            Assert.That(IsDigestOf(tool, tool.Value("client_secret")), Is.True);
        }
    }

    [TestCase("a secret of another system\n", "a secret of another system")]
    [TestCase("a secret of another system\r\n", "a secret of another system")]
    [TestCase("a secret of another system", "a secret of another system")]
    [TestCase("a secret of another system\nand more", "a secret of another system")]
    [TestCase(" sixteen bytes \t\n", " sixteen bytes \t")]
    [TestCase("pässwörter, länger\n", "pässwörter, länger")]
    public async Task Secret_hash_prints_an_id_and_the_digest_of_the_line_it_reads(string input, string secret)
    {
        var tool = await Tool.TokenServiceAsync(["secret", "hash"], input, Cheap);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(tool.ExitCode, Is.Zero, tool.Error);
            Assert.That(Names(tool), Is.EqualTo(["secret_id", "digest"]));
            Assert.That(tool.Value("secret_id"), Does.Match(@"\Aimported_[0-9A-Za-z]{12}\z"));
            Assert.That(IsDigestOf(tool, secret), Is.True);
        }
    }

    [TestCase("a secret with a + in it", true)]
    [TestCase("a secret with a % in it", true)]
    [TestCase("a secret with &=:/ in it", false)]
    public async Task Secret_hash_and_secret_check_warn_of_a_secret_that_form_encoding_changes(string secret, bool isWarned)
    {
        const string warning = "Warning: the secret has + or %. curl -u, Apache HttpClient, requests-oauthlib, Authlib, ruby-oauth2, "
            + "axios and librdkafka do not form-encode it for HTTP Basic, and get 401. Allow such a client client_secret_post, or give "
            + "it the secret with %25 for % and %2B for +.\n";
        var hash = await Tool.TokenServiceAsync(["secret", "hash"], secret, Cheap);
        var check = await Tool.TokenServiceAsync(["secret", "check"], secret);

        using (Assert.EnterMultipleScope())
        {
            Assert.That((hash.ExitCode, hash.Error), Is.EqualTo((0, isWarned ? warning : "")));
            Assert.That(Names(hash), Is.EqualTo(["secret_id", "digest"]));
            Assert.That(check.Output, Is.EqualTo(
                "The secret was not made by TokenService, so its form tells nothing.\n" + (isWarned ? warning : "")));
        }
    }

    [Test]
    public async Task Secret_hash_takes_the_id_from_a_generated_secret()
    {
        var secret = GeneratedSecret.Create();
        var tool = await Tool.TokenServiceAsync(["secret", "hash"], secret.Value + "\n", Cheap);

        Assert.That(tool.Value("secret_id"), Is.EqualTo(secret.Selector));
        Assert.That(IsDigestOf(tool, secret.Value), Is.True);
    }

    [TestCase("", "fewer than 16 characters. Make one with: TokenService secret new")]
    [TestCase("\n", "fewer than 16 characters. Make one with: TokenService secret new")]
    [TestCase("only 15 letters\n", "fewer than 16 characters. Make one with: TokenService secret new")]
    [TestCase("257", "more than 256 bytes.")]
    [TestCase("tsvc_0123456789AB_0123456789012345678901234567890123456789012345678\n", "")]
    public async Task Secret_hash_refuses_a_secret_that_is_too_short_too_long_or_damaged(string input, string defect)
    {
        var tool = await Tool.TokenServiceAsync(["secret", "hash"], input == "257" ? new string('x', 257) : input, Cheap);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(tool.ExitCode, Is.EqualTo(1));
            Assert.That(tool.Output, Is.Empty);
            Assert.That(tool.Error.TrimEnd(), Is.EqualTo(defect.Length > 0
                ? $"The secret on standard input has {defect}"
                : "The secret on standard input looks like one of TokenService, but its checksum is wrong. Was it cut or mistyped?"));
        }
    }

    [Test]
    public async Task Migrate_prints_what_it_applied()
    {
        await using var database = await Database.CreateEmptyAsync();
        var first = await Tool.TokenServiceAsync(["migrate"], environment: Connection(database));
        var second = await Tool.TokenServiceAsync(["migrate"], environment: Connection(database));

        using (Assert.EnterMultipleScope())
        {
            Assert.That((first.ExitCode, first.Error), Is.EqualTo((0, "")));
            Assert.That(Lines(first.Output), Is.EqualTo(
            [
                .. DatabaseSchema.OfThisBuild.Migrations.Select(migration => $"applied {migration.Name}"),
                .. DatabaseSchema.OfThisBuild.Functions.Select(file => $"applied functions/{file.Name}"),
            ]));
            Assert.That((second.ExitCode, second.Error), Is.EqualTo((0, "")));
            Assert.That(Lines(second.Output), Is.EqualTo(["nothing new to apply; roles, rights and functions are in place"]));
        }
    }

    [Test]
    public async Task Demo_client_creates_a_client_and_renews_its_secret_when_run_again()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(database);

        var first = await DemoClientAsync(database);
        (await TokenRequestBuilder.For(first).SendAsync(server)).IsGrant("invoices:read");
        var second = await DemoClientAsync(database);
        await server.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.ByPost(second).WithScope("invoices:write").SendAsync(server)).IsGrant("invoices:write");
        (await TokenRequestBuilder.For(first).SendAsync(server)).IsInvalidClient();
    }

    [Test]
    public async Task Help_exits_with_0_and_prints_the_usage()
    {
        var tool = await Tool.TokenServiceAsync(["--help"]);

        Assert.That((tool.ExitCode, tool.Error), Is.EqualTo((0, "")));
        Assert.That(tool.Output, Does.StartWith("usage: TokenService"));
    }

    [TestCase("help")]
    [TestCase("-h")]
    [TestCase("secret")]
    [TestCase("secret", "old")]
    [TestCase("migrate", "now")]
    public async Task An_unknown_command_exits_with_2_and_prints_the_usage(params string[] args)
    {
        var tool = await Tool.TokenServiceAsync(args);

        Assert.That((tool.ExitCode, tool.Output), Is.EqualTo((2, "")));
        Assert.That(tool.Error, Does.StartWith("usage: TokenService"));
    }

    [Test]
    public async Task Serving_without_settings_lists_every_missing_setting()
    {
        var tool = await Tool.TokenServiceAsync([]);

        using (Assert.EnterMultipleScope())
        {
            Assert.That((tool.ExitCode, tool.Output), Is.EqualTo((1, "")));
            Assert.That(Lines(tool.Error), Is.EqualTo(
            [
                "ConnectionStrings:TokenService is missing. Set it to an Npgsql connection string, "
                    + "such as Host=127.0.0.1;Port=5432;Database=token_service;Username=token_service.",
                "Keys:SealingKeys is empty. Set Keys:SealingKeys:<id> to 32 random bytes in Base64, "
                    + "such as openssl rand -base64 32 prints, or Keys:SealingKeyFiles:<id> to a file that holds them.",
                "Issuer is missing. Set it to the https address under which clients reach this server.",
            ]));
        }
    }

    [TestCase("migrate")]
    [TestCase("demo-client")]
    public async Task A_command_without_a_connection_string_asks_for_one(string command)
    {
        var tool = await Tool.TokenServiceAsync([command]);

        Assert.That((tool.ExitCode, tool.Output), Is.EqualTo((1, "")));
        Assert.That(Lines(tool.Error), Is.EqualTo(
        [
            "ConnectionStrings:TokenService is missing. Set it to an Npgsql connection string, "
                + "such as Host=127.0.0.1;Port=5432;Database=token_service;Username=token_service.",
        ]));
    }

    [Test]
    public async Task A_command_with_a_wrong_setting_names_that_setting()
    {
        var tool = await Tool.TokenServiceAsync(["secret", "new"], environment: ("Hashing__MemoryKiB", "1"));

        Assert.That((tool.ExitCode, tool.Error), Is.EqualTo((1, "Hashing:MemoryKiB must be 8192 to 65536 (KiB).\n")));
    }

    [Test]
    public async Task A_command_that_cannot_reach_the_database_reports_it_in_one_line()
    {
        var tool = await Tool.TokenServiceAsync(["migrate"], environment: ("ConnectionStrings__TokenService", "Host=127.0.0.1;Port=1"));

        Assert.That((tool.ExitCode, tool.Output), Is.EqualTo((1, "")));
        Assert.That(Lines(tool.Error), Is.EqualTo(["Failed to connect to 127.0.0.1:1"]));
    }

    private static async Task<TestClient> DemoClientAsync(Database database)
    {
        var tool = await Tool.TokenServiceAsync(["demo-client"], environment: [.. Connection(database), .. Cheap]);
        Assert.That((tool.ExitCode, tool.Error), Is.EqualTo((0, "")));
        return new TestClient(tool.Value("client_id"), tool.Value("client_secret"));
    }

    private static (string, string)[] Connection(Database database) => [("ConnectionStrings__TokenService", database.ConnectionString)];

    private static bool? IsDigestOf(Tool tool, string secret) =>
        Argon2Digest.TryParse(tool.Value("digest"), out var digest) ? Run.Hasher.Matches(secret, digest) : null;

    private static IEnumerable<string> Names(Tool tool) => Lines(tool.Output).Select(line => line.Split('=')[0]);

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
