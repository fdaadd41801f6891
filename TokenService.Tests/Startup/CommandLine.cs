using System.Runtime.Versioning;
using System.Security.Cryptography;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
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

    [TestCase("ES256", "key.jwk")]
    [TestCase("ES256", "key.pem")]
    [TestCase("ES384", "key.jwk")]
    [TestCase("ES384", "key.pem")]
    [TestCase("PS256", "key.jwk")]
    [TestCase("PS256", "key.pem")]
    [TestCase("RS256", "key.jwk"), UnsupportedOSPlatform("windows")]
    public async Task Client_key_new_writes_the_private_half_of_the_key_it_prints(string algorithm, string name)
    {
        using var folder = new Folder();
        var file = folder.PathTo(name);
        var tool = await Tool.TokenServiceAsync(["client-key", "new", "--alg", algorithm, file]);
        Assert.That(tool.ExitCode, Is.Zero, tool.Error);
        var jwk = tool.Value("public_jwk");
        var publicKey = new JsonWebKey(jwk);
        var privateText = await File.ReadAllTextAsync(file);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(Names(tool), Is.EqualTo(["kid", "alg", "public_jwk"]));
            Assert.That(tool.Value("kid"), Is.EqualTo(Base64UrlEncoder.Encode(publicKey.ComputeJwkThumbprint())));
            Assert.That((publicKey.Kid, publicKey.Alg, publicKey.Use), Is.EqualTo((tool.Value("kid"), algorithm, "sig")));
            Assert.That((tool.Value("alg"), publicKey.HasPrivateKey), Is.EqualTo((algorithm, false)));
            Assert.That(publicKey.KeySize, Is.EqualTo(algorithm switch { "ES256" => 256, "ES384" => 384, _ => 3072 }));
            Assert.That(tool.Error, Is.EqualTo(
                $"# An admin adds it with: psql -v client_id=… -v public_jwk='{jwk}' -f scripts/add-key.sql\n"));
            Assert.That(File.GetUnixFileMode(file), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        }

        // Another implementation signs with the file, and verifies with what was printed.
        SecurityKey privateKey = name.EndsWith(".pem", StringComparison.Ordinal) ? FromPem(privateText, algorithm) : new JsonWebKey(privateText);
        var handler = new JsonWebTokenHandler();
        var assertion = handler.CreateToken(new SecurityTokenDescriptor
        {
            Issuer = "billing",
            SigningCredentials = new SigningCredentials(privateKey, algorithm),
        });
        var validated = await handler.ValidateTokenAsync(assertion, new TokenValidationParameters
        {
            ValidIssuer = "billing",
            ValidateAudience = false,
            IssuerSigningKey = publicKey,
            ValidAlgorithms = [algorithm],
        });
        Assert.That(validated.Exception, Is.Null);

        // The file names the same key.
        if (privateKey is JsonWebKey named)
            Assert.That((named.Kid, named.Alg), Is.EqualTo((publicKey.Kid, algorithm)));
    }

    [Test]
    public async Task Client_key_new_makes_an_ES256_key_by_default_with_the_kid_that_is_passed_which_the_database_takes()
    {
        using var folder = new Folder();
        var tool = await Tool.TokenServiceAsync(["client-key", "new", "--kid", "billing-2027", folder.PathTo("key.jwk")]);
        Assert.That((tool.Value("kid"), tool.Value("alg")), Is.EqualTo(("billing-2027", "ES256")));

        await using var database = await Database.CreateAsync();
        await database.CreateClientAsync("billing");
        Assert.That(
            await database.ReadAsync<string>(
                "select token_service.add_key('billing', token_service.read_jwk(@jwk))", new { jwk = tool.Value("public_jwk") }),
            Is.EqualTo("billing-2027"));
    }

    [TestCase("key.jwk")]
    [TestCase("key.pem")]
    [TestCase("link.jwk")]
    public async Task Client_key_new_overwrites_nothing(string name)
    {
        using var folder = new Folder();
        await File.WriteAllTextAsync(folder.PathTo("key.jwk"), "a key");
        await File.WriteAllTextAsync(folder.PathTo("key.pem"), "a key");
        File.CreateSymbolicLink(folder.PathTo("link.jwk"), folder.PathTo("nothing-there"));
        var tool = await Tool.TokenServiceAsync(["client-key", "new", folder.PathTo(name)]);

        using (Assert.EnterMultipleScope())
        {
            Assert.That((tool.ExitCode, tool.Output), Is.EqualTo((1, "")));
            Assert.That(tool.Error, Is.EqualTo($"{folder.PathTo(name)} exists. Name a new file: a private key is never overwritten.\n"));
            Assert.That(File.ReadAllText(folder.PathTo("key.jwk")) + File.ReadAllText(folder.PathTo("key.pem")), Is.EqualTo("a keya key"));
            Assert.That(File.Exists(folder.PathTo("nothing-there")), Is.False);
        }
    }

    [TestCase("--alg", "HS256", "The algorithm is none of ES256, ES384, PS256 and RS256.")]
    [TestCase("--alg", "Ed25519", "This command makes no Ed25519 keys. Use another tool, such as: openssl genpkey -algorithm ed25519")]
    [TestCase("--kid", "a b", "The kid is not 1 to 128 printable ASCII characters without space, quotation marks, ` and \\.")]
    [TestCase("--kid", "", "The kid is not 1 to 128 printable ASCII characters without space, quotation marks, ` and \\.")]
    public async Task Client_key_new_refuses_what_it_cannot_make_and_leaves_no_file(string option, string value, string refusal)
    {
        using var folder = new Folder();
        var tool = await Tool.TokenServiceAsync(["client-key", "new", option, value, folder.PathTo("key.jwk")]);
        Assert.That((tool.ExitCode, tool.Output, tool.Error), Is.EqualTo((1, "", refusal + "\n")));
        Assert.That(File.Exists(folder.PathTo("key.jwk")), Is.False);
    }

    [Test]
    public async Task Client_key_new_says_that_its_file_cannot_be_made()
    {
        using var folder = new Folder();
        var tool = await Tool.TokenServiceAsync(["client-key", "new", folder.PathTo("nowhere/key.jwk")]);
        Assert.That((tool.ExitCode, tool.Output), Is.EqualTo((1, "")));
        Assert.That(tool.Error, Does.StartWith($"{folder.PathTo("nowhere/key.jwk")} cannot be written: "));
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
    [TestCase("client-key")]
    [TestCase("client-key", "new")]
    [TestCase("client-key", "new", "--alg", "ES256")]
    [TestCase("client-key", "new", "--size", "key.jwk")]
    [TestCase("client-key", "new", "one.jwk", "two.jwk")]
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

    private static AsymmetricSecurityKey FromPem(string pem, string algorithm)
    {
        Assert.That(pem, Does.StartWith("-----BEGIN PRIVATE KEY-----\n").And.EndsWith("\n-----END PRIVATE KEY-----\n"));
        if (algorithm == "PS256")
        {
            var rsa = RSA.Create();
            rsa.ImportFromPem(pem);
            return new RsaSecurityKey(rsa);
        }

        var ecdsa = ECDsa.Create();
        ecdsa.ImportFromPem(pem);
        return new ECDsaSecurityKey(ecdsa);
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

    private sealed class Folder : IDisposable
    {
        private readonly string path = Directory.CreateTempSubdirectory("client-key").FullName;

        public string PathTo(string name) => Path.Combine(path, name);

        public void Dispose() => Directory.Delete(path, recursive: true);
    }
}
