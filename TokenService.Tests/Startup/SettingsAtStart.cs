using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using TokenService.Configuration;
using TokenService.Jose;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>
/// The server checks every setting before it does anything else, and reports all wrong settings at once.
/// </summary>
[TestFixture]
public sealed class SettingsAtStart
{
    private const string Key = "c2VhbGluZy1rZXktb2YtdGhlLXRlc3RzLTMyLWJ5dGU=";

    private const string NotHttps = "Issuer must be https: plain http is for Development and for loopback addresses.";

    private const string NotAnIssuer =
        "Issuer must be an https address of host, port and plain path, such as https://auth.example.com: "
        + "no user, query, fragment or escapes (RFC 8414 §2).";

    private const string Underscore =
        "Issuer has an underscore in its host, and many clients refuse such a name (RFC 1123 §2.1). "
        + "Use one of letters, digits and hyphens, such as https://auth.example.com.";

    private const string Example = "Host=127.0.0.1;Port=5432;Database=token_service;Username=token_service.";

    private const string NotAConnection =
        "ConnectionStrings:TokenService is not an Npgsql connection string with a Host, such as " + Example;

    private static readonly string[] Valid =
    [
        "Issuer=https://as.example.com",
        "ConnectionStrings:TokenService=Host=127.0.0.1;Password=hunter2-hunter2",
        $"Keys:SealingKeys:a={Key}",
    ];

    private static IEnumerable<TestCaseData> Ranges() =>
    [
        Range("Hashing:MemoryKiB", "8192", "65536", "8192 to 65536 (KiB)", outside: ["8191", "65537", "-1"]),
        Range("Hashing:Iterations", "1", "10", "1 to 10 (passes)", outside: ["0", "11"]),
        Range("Hashing:MemoryBudgetMiB", "64", "16384", "64 to 16384 (MiB)", outside: ["63", "16385"]),
        Range("Hashing:QueueLength", "1", "10000", "1 to 10000 (waiting secrets)", outside: ["0", "10001"]),
        Range("Hashing:QueueTime", "00:00:00.010", "00:01:00", "00:00:00.010 to 00:01:00", outside: ["00:00:00.009", "00:01:00.001"]),
        Range("Hashing:SecretMemory", "00:00:00", "1.00:00:00", "00:00:00 to 1.00:00:00", outside: ["-00:00:01", "1.00:00:01"]),
        Range("Limits:FailuresPerClient", "1", "10000", "1 to 10000", outside: ["0", "10001"]),
        Range("Limits:FailuresPerSource", "1", "10000", "1 to 10000", outside: ["0", "10001"]),
        Range("Limits:RequestsInFlight", "16", "100000", "16 to 100000", outside: ["15", "100001"]),
        Range("Limits:Connections", "64", "100000", "64 to 100000", outside: ["63", "100001"]),
        Range("Clients:ServeWhileAway", "00:00:00", "00:10:00", "00:00:00 to 00:10:00", outside: ["-00:00:01", "00:10:01"]),
        Range("Events:QueueLength", "1024", "1000000", "1024 to 1000000 (waiting events)", outside: ["1023", "1000001"]),
        Range("Tokens:Lifetime", "00:01:00", "1.00:00:00", "00:01:00 to 1.00:00:00", outside: ["00:00:59", "1.00:00:01"]),
        Range("Keys:JwksMaxAge", "00:00:01", "1.00:00:00", "00:00:01 to 1.00:00:00", outside: ["00:00:00", "1.00:00:01"]),
        Range("Keys:SigningPeriod", "01:00:00", "400.00:00:00", "01:00:00 to 400.00:00:00", outside: ["00:59:59", "400.00:00:01"]),
    ];

    [Test]
    public void Valid_settings_are_accepted() => IsAccepted([]);

    [TestCaseSource(nameof(Ranges))]
    public void A_number_outside_its_range_is_refused(
        string setting, string lowest, string highest, string bounds, string[] outside)
    {
        IsAccepted($"{setting}={lowest}");
        IsAccepted($"{setting}={highest}");
        foreach (var value in outside)
            IsRefused($"{setting} must be {bounds}.", $"{setting}={value}");
    }

    [TestCase("", "Issuer is missing. Set it to the https address under which clients reach this server.")]
    [TestCase("as.example.com", NotAnIssuer)]
    [TestCase("ftp://as.example.com", NotAnIssuer)]
    [TestCase("https://user@as.example.com", NotAnIssuer)]
    [TestCase("https://as.example.com?a", NotAnIssuer)]
    [TestCase("https://as.example.com#a", NotAnIssuer)]
    [TestCase("https://as.example.com?", NotAnIssuer)]
    [TestCase("https://as.example.com#", NotAnIssuer)]
    [TestCase(" https://as.example.com", NotAnIssuer)]
    [TestCase("https://as.example.com/a%20b", NotAnIssuer)]
    [TestCase("https://as.example.com/a/../b", NotAnIssuer)]
    [TestCase("https://as.example.com//a", NotAnIssuer)]
    [TestCase("https://as_1.example.com", Underscore)]
    [TestCase("https://token_service:8443/tenant", Underscore)]
    [TestCase("http://as.example.com", NotHttps)]
    [Rfc(8414, "2a")]
    public void An_issuer_that_is_not_a_plain_https_address_is_refused(string issuer, string message) =>
        IsRefused(message, $"Issuer={issuer}");

    [TestCase("http://127.0.0.1:8080")]
    [TestCase("http://localhost")]
    [TestCase("http://[::1]:8080/tenant")]
    public void The_issuer_may_be_plain_http_on_a_loopback_address(string issuer) => IsAccepted($"Issuer={issuer}");

    [Test]
    public void The_issuer_may_be_plain_http_in_Development()
    {
        IsAccepted("Issuer=http://as.example.com", "environment=Development");
        IsRefused(NotHttps, "Issuer=http://as.example.com", "environment=Staging");
        IsRefused(NotAnIssuer, "Issuer=http://as.example.com#a", "environment=Development");
    }

    [TestCase("")]
    [TestCase("hunter2-hunter2")]
    [TestCase("Password=hunter2-hunter2")]
    [TestCase("Host=;Password=hunter2-hunter2")]
    [TestCase("Host=127.0.0.1;Password=hunter2-hunter2;Nonsense=1")]
    [TestCase("Host=127.0.0.1;Password=hunter2-hunter2;Port=hunter2-hunter2")]
    public void An_invalid_connection_string_is_refused_and_not_repeated(string connectionString) =>
        IsRefused(
            connectionString.Length == 0
                ? "ConnectionStrings:TokenService is missing. Set it to an Npgsql connection string, such as " + Example
                : NotAConnection,
            $"ConnectionStrings:TokenService={connectionString}");

    [TestCase("host=127.0.0.1 port=5432 dbname=token_service password=hunter2-hunter2")]
    [TestCase("host=127.0.0.1 dbname=token_service")]
    [TestCase("dbname=token_service host=127.0.0.1")]
    [TestCase("postgresql://token_service:hunter2-hunter2@127.0.0.1/token_service")]
    [TestCase("postgres://127.0.0.1/token_service?sslmode=require;x=1")]
    public void A_connection_string_of_libpq_is_refused_and_the_right_form_shown(string connectionString) =>
        IsRefused(
            "ConnectionStrings:TokenService is in libpq's form. Write it in Npgsql's, with semicolons, such as " + Example,
            $"ConnectionStrings:TokenService={connectionString}");

    [TestCase("Host=127.0.0.1;Application Name=token service")]
    [TestCase(" Host = 127.0.0.1 ; Database = a b ")]
    [TestCase("Host=127.0.0.1")]
    public void A_connection_string_of_Npgsql_with_spaces_is_accepted(string connectionString) =>
        IsAccepted($"ConnectionStrings:TokenService={connectionString}");

    [TestCase("Kestrel:Limits:KeepAliveTimeout=00:11:00")]
    [TestCase("Kestrel:Limits:MaxRequestBodySize=65536")]
    [TestCase("Kestrel:Limits:Http2:MaxStreamsPerConnection=32")]
    [TestCase("Kestrel:Limits:MinRequestBodyDataRate:BytesPerSecond=100", "Kestrel:Limits:MinRequestBodyDataRate:GracePeriod=00:00:05")]
    [TestCase("TlsTerminatedUpstream=true")]
    [TestCase("TlsTerminatedUpstream=False")]
    public void These_settings_are_accepted(params string[] settings) => IsAccepted(settings);

    [TestCase("Keys:Algorithm", "ES256, ES384, RS256 or PS256", "ES256 ES384 RS256 PS256", "none HS256 es256 ES512 EdDSA")]
    [TestCase("Keys:RsaKeySize", "2048, 3072 or 4096 (bits)", "2048 3072 4096", "1024 2047 2049 8192 -2048")]
    [Rfc(7518, "3.3"), Rfc(9068, "2.1a")]
    public void A_setting_with_a_fixed_set_of_values_accepts_only_those(
        string setting, string choices, string accepted, string refused)
    {
        foreach (var value in accepted.Split(' '))
            IsAccepted($"{setting}={value}");
        foreach (var value in refused.Split(' '))
            IsRefused($"{setting} must be {choices}.", $"{setting}={value}");
    }

    [TestCase("Baseline")]
    [TestCase("Fapi2")]
    [TestCase("fapi2")]
    public void A_profile_is_accepted(string profile) => IsAccepted($"Profile={profile}");

    [Test]
    public void An_unknown_profile_is_refused([Values("", "Fapi", "Fapi1", "FAPI 2.0", "7", "1", "Baseline,Fapi2", " Fapi2")] string profile) =>
        IsRefused("Profile must be Baseline or Fapi2.", $"Profile={profile}");

    [Test]
    public void An_algorithm_that_the_profile_rules_out_is_refused(
        [Values("RS256", "ES384")] string ruledOut, [Values("ES256", "PS256")] string allowed)
    {
        IsAccepted($"Keys:Algorithm={ruledOut}", "Profile=Baseline");
        IsAccepted($"Keys:Algorithm={allowed}", "Profile=Fapi2");
        IsRefused("Keys:Algorithm must be ES256 or PS256 under Profile=Fapi2.", $"Keys:Algorithm={ruledOut}", "Profile=Fapi2");
    }

    // The server would serve nobody.
    [TestCase("Assertions:Algorithms", "RS256 ES384")]
    [TestCase("Dpop:Algorithms", "ES384")]
    public void A_profile_that_leaves_no_algorithm_is_refused(string setting, string algorithms)
    {
        IsAccepted($"{setting}={algorithms}");
        IsAccepted($"{setting}={algorithms} PS256", "Issuer=https://as.example.com", "Profile=Fapi2");
        IsRefused(
            $"{setting} names no algorithm that Profile=Fapi2 allows.", $"{setting}={algorithms}", "Issuer=https://as.example.com",
            "Profile=Fapi2");
    }

    [Test]
    public void Algorithms_of_assertions_and_proofs_must_be_known(
        [Values("Assertions:Algorithms", "Dpop:Algorithms")] string setting,
        [Values("", "HS256", "es256", "ES256,PS256", "ES256 none")] string value) =>
        IsRefused(
            $"{setting} must be one or more of {string.Join(' ', VerificationKey.Algorithms)}, separated by spaces.", $"{setting}={value}");

    [TestCase("http://127.0.0.1:8080")]
    [TestCase("http://as.example.com", "environment=Development")]
    public void The_issuer_must_be_https_under_the_profile(string issuer, params string[] settings)
    {
        IsAccepted([$"Issuer={issuer}", .. settings]);
        IsRefused("Issuer must be https under Profile=Fapi2.", [$"Issuer={issuer}", "Profile=Fapi2", .. settings]);
    }

    [TestCase("a", "")]
    [TestCase("a", "hunter2-hunter2")]
    [TestCase("a", "aHVudGVyMi1odW50ZXIy")] // 15 bytes
    [TestCase("a", Key + Key)]
    public void A_sealing_key_that_is_not_32_bytes_in_Base64_is_refused(string id, string value) =>
        IsRefused($"Keys:SealingKeys:{id} must be 32 bytes in Base64.", $"Keys:SealingKeys:{id}={value}");

    [TestCase("a b")]
    [TestCase("é")]
    [TestCase("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
    public void A_sealing_key_with_an_invalid_id_is_refused(string id) =>
        IsRefused(
            "Keys:SealingKeys has an id that is not 1 to 64 letters, digits, '.', '_' and '-'.",
            $"Keys:SealingKeys:{id}={Key}", "Keys:SealingKeyId=a");

    [Test]
    public void SealingKeyId_must_name_one_of_several_sealing_keys()
    {
        IsAccepted($"Keys:SealingKeys:b={Key}", "Keys:SealingKeyId=b");
        IsRefused("Keys:SealingKeyId must say which of the several Keys:SealingKeys seals from now on.", $"Keys:SealingKeys:b={Key}");
        IsRefused("Keys:SealingKeyId must be the id of one of Keys:SealingKeys.", "Keys:SealingKeyId=c");
    }

    [TestCase(Key)]
    [TestCase($"{Key}\n")]
    [TestCase($"  {Key}\r\n")]
    public void A_sealing_key_may_be_in_a_file(string content) => WithFile(content, file =>
    {
        IsAccepted($"Keys:SealingKeyFiles:b={file}", "Keys:SealingKeyId=b");
        IsRefused("Keys:SealingKeyId must say which of the several Keys:SealingKeys seals from now on.", $"Keys:SealingKeyFiles:b={file}");
        IsRefused(
            "Keys:SealingKeys and Keys:SealingKeyFiles have an id in common.",
            $"Keys:SealingKeyFiles:a={file}", "Keys:SealingKeyId=a");
    });

    [TestCase("")]
    [TestCase("hunter2-hunter2")]
    [TestCase($"{Key}\n{Key}")]
    public void A_sealing_key_file_with_other_content_is_refused(string content) => WithFile(content, file =>
        IsRefused("Keys:SealingKeys:b must be 32 bytes in Base64.", $"Keys:SealingKeyFiles:b={file}", "Keys:SealingKeyId=a"));

    [TestCase("/nowhere/hunter2")]
    [TestCase("/")]
    [TestCase("")]
    public void A_sealing_key_file_that_cannot_be_read_is_named(string file) =>
        IsRefused(
            $"Keys:SealingKeyFiles:b names {file}, which does not exist or cannot be read.",
            $"Keys:SealingKeyFiles:b={file}", "Keys:SealingKeyId=a");

    [TestCase("127.0.0.1", true)]
    [TestCase("::1", true)]
    [TestCase("10.0.0.0/8", true)]
    [TestCase("fd00::/8", true)]
    [TestCase("proxy.example.com", false)]
    [TestCase("10.0.0.0/33", false)]
    [TestCase("", false)]
    public void A_proxy_must_be_an_address_or_a_network(string proxy, bool isAccepted)
    {
        if (isAccepted)
            IsAccepted("Proxies:0=127.0.0.2", $"Proxies:1={proxy}");
        else
            IsRefused("Proxies:1 must be an IP address or a network such as 10.0.0.0/8.", "Proxies:0=127.0.0.2", $"Proxies:1={proxy}");
    }

    [TestCase("Wait")]
    [TestCase("Drop")]
    public void Events_WhenFull_accepts_Wait_and_Drop(string value) => IsAccepted($"Events:WhenFull={value}");

    [TestCase("Limits:FailuresPerUser=1", "Limits:FailuresPerUser is not a setting.")]
    [TestCase("Limits:RequestsInFlight=many", "Limits:RequestsInFlight must be a whole number.")]
    [TestCase("Clients:ServeWhileAway=long", "Clients:ServeWhileAway must be a time such as 00:05:00.")]
    [TestCase("Hashing:SecretMemory=long", "Hashing:SecretMemory must be a time such as 00:05:00.")]
    [TestCase("Events:WhenFull=Lose", "Events:WhenFull must be Wait or Drop.")]
    [TestCase("Hashing:Library=Managed", "Hashing:Library must be Auto or Libsodium or Konscious.")]
    [TestCase("Hashing:Library=7", "Hashing:Library must be Auto or Libsodium or Konscious.")]
    [TestCase("Events:WhenFull=7", "Events:WhenFull must be Wait or Drop.")]
    [TestCase("Events:File:0=a", "Events:File must be one value.")]
    [TestCase("Metadata:AdvertiseAuthorizationEndpoint=yes", "Metadata:AdvertiseAuthorizationEndpoint must be true or false.")]
    [TestCase("Metadata:AdvertiseAuthorisationEndpoint=true", "Metadata:AdvertiseAuthorisationEndpoint is not a setting.")]
    [TestCase("Hashing:MemoryKib2=1", "Hashing:MemoryKib2 is not a setting.")]
    [TestCase("Hashing:Cost=1", "Hashing:Cost is not a setting.")]
    [TestCase("Tokens:LifeTme=00:01:00", "Tokens:LifeTme is not a setting.")]
    [TestCase("Hashing:QueueLength=many", "Hashing:QueueLength must be a whole number.")]
    [TestCase("Hashing:QueueLength:0=1", "Hashing:QueueLength must be a whole number.")]
    [TestCase("Tokens:Lifetime=long", "Tokens:Lifetime must be a time such as 00:05:00.")]
    [TestCase("Tokens:Lifetime=00:01:00.5", "Tokens:Lifetime must be whole seconds.")]
    [TestCase("Kestrel:Limits:KeepAlive=00:01:00", "Kestrel:Limits:KeepAlive is not a setting.")]
    [TestCase("Kestrel:Limits:KeepAliveTimeout=long", "Kestrel:Limits:KeepAliveTimeout must be a time such as 00:05:00.")]
    [TestCase("Kestrel:Limits:KeepAliveTimeout=00:00:00",
        "Kestrel:Limits has a value out of range: Value must be a positive TimeSpan. (Parameter 'value')")]
    [TestCase("Kestrel:Limits:KeepAliveTimeout=600", "Kestrel:Limits:KeepAliveTimeout must be a time such as 00:05:00, of at most a day.")]
    [TestCase("Kestrel:Limits:Http2=5", "Kestrel:Limits:Http2 is a section, and has no value of its own.")]
    [TestCase("Kestrel:Limits:MinRequestBodyDataRate:BytesPerSecond=hunter2-hunter2",
        "Kestrel:Limits has a value of another form than Kestrel's.")]
    [TestCase("Kestrel:Limits:MinRequestBodyDataRate:Nonsense=5", "Kestrel:Limits has a value of another form than Kestrel's.")]
    [TestCase("Kestrel:Limits:MaxRequestBufferSize=100",
        "Kestrel:Limits:MaxRequestBufferSize must not be less than MaxRequestLineSize and MaxRequestHeadersTotalSize.")]
    [TestCase("Kestrel:Limits:MaxRequestHeadersTotalSize=32768",
        "Kestrel:Limits:MaxRequestBufferSize must not be less than MaxRequestLineSize and MaxRequestHeadersTotalSize.")]
    [TestCase("Kestrel:Limits:MaxRequestBodySize=many", "Kestrel:Limits:MaxRequestBodySize must be a whole number.")]
    [TestCase("Kestrel:Limits:Http2:Streams=1", "Kestrel:Limits:Http2:Streams is not a setting.")]
    [TestCase("TlsTerminatedUpstream=hunter2-hunter2", "TlsTerminatedUpstream must be true or false.")]
    [TestCase("TlsTerminatedUpstream=1", "TlsTerminatedUpstream must be true or false.")]
    [TestCase("Keys:SealingKeys=hunter2-hunter2", "Keys:SealingKeys must be set by id, as Keys:SealingKeys:<id>.")]
    [TestCase("Keys:SealingKeys:a:b=hunter2-hunter2", "Keys:SealingKeys must be set by id, as Keys:SealingKeys:<id>.")]
    public void An_unknown_or_malformed_setting_is_named_without_its_value(string setting, string message) =>
        IsRefused(message, setting);

    // The timeout itself is Kestrel's and runs on real time.
    [Test]
    public async Task Limits_of_Kestrel_replace_those_of_this_server()
    {
        await using var app = Build(Arguments("Kestrel:Limits:KeepAliveTimeout=00:11:00", "Kestrel:Limits:MaxRequestBodySize=65536"));
        var limits = app.Services.GetRequiredService<IOptions<KestrelServerOptions>>().Value.Limits;
        Assert.That(
            (limits.KeepAliveTimeout, limits.MaxRequestBodySize, limits.MaxRequestHeadersTotalSize),
            Is.EqualTo((TimeSpan.FromMinutes(11), 65536L, 16 * 1024)));
    }

    // .NET's container images set ASPNETCORE_HTTP_PORTS.
    [TestCase("http://127.0.0.1:8080")]
    [TestCase("http://127.0.0.1:9090", "urls=http://127.0.0.1:9090")]
    [TestCase("http://127.0.0.1:8080", "http_ports=")]
    [TestCase(null, "http_ports=8080")]
    [TestCase(null, "https_ports=8443")]
    [TestCase(null, "Kestrel:Endpoints:Http:Url=http://127.0.0.1:9090")]
    public async Task The_default_address_is_for_a_server_that_has_no_other(string? urls, params string[] settings)
    {
        await using var app = Build(Arguments(settings));
        Assert.That(app.Configuration["urls"], Is.EqualTo(urls));
    }

    // Issuer, Proxies and the connection string have no section.
    [Test]
    public async Task Every_setting_of_a_section_is_in_the_operators_handbook()
    {
        var settings = typeof(Server).Assembly.GetTypes()
            .Select(type => (Type: type, Section: type.GetField("Section", BindingFlags.Public | BindingFlags.Static)))
            .Where(options => options.Section is { IsLiteral: true })
            .SelectMany(options => options.Type.GetProperties(BindingFlags.Public | BindingFlags.Instance)
                .Where(property => property.CanWrite).Select(property => $"{options.Section!.GetRawConstantValue()}:{property.Name}"))
            .ToList();
        var handbook = await File.ReadAllTextAsync(Repository.PathTo("scripts", "OPERATIONS.md"));

        Assert.That(settings, Has.Count.GreaterThan(20));
        Assert.That(
            settings.Where(setting => !Regex.IsMatch(handbook, $@"^\| `{setting}(:<id>)?` \|", RegexOptions.Multiline)), Is.Empty);
    }

    [Test]
    public void A_single_proxy_may_be_set_without_an_index()
    {
        IsAccepted("Proxies=127.0.0.2");
        IsRefused("Proxies:0 must be an IP address or a network such as 10.0.0.0/8.", "Proxies=10");
    }

    [Test]
    public void All_wrong_settings_are_reported_at_once() =>
        IsRefused(
            string.Join(
                Environment.NewLine,
                NotAConnection,
                "Events:QueueLength must be 1024 to 1000000 (waiting events).",
                "Hashing:MemoryKiB must be 8192 to 65536 (KiB).",
                "Hashing:Iterations must be 1 to 10 (passes).",
                "Clients:ServeWhileAway must be 00:00:00 to 00:10:00.",
                "Keys:SealingKeys:a must be 32 bytes in Base64.",
                "Limits:FailuresPerClient must be 1 to 10000.",
                "Limits:RequestsInFlight must be 16 to 100000.",
                "Tokens:Lifetime must be 00:01:00 to 1.00:00:00.",
                NotAnIssuer,
                "Proxies:0 must be an IP address or a network such as 10.0.0.0/8."),
            "Issuer=x", "ConnectionStrings:TokenService=hunter2-hunter2", "Keys:SealingKeys:a=hunter2-hunter2", "Hashing:MemoryKiB=1",
            "Hashing:Iterations=0", "Limits:FailuresPerClient=0", "Limits:RequestsInFlight=0", "Tokens:Lifetime=0",
            "Clients:ServeWhileAway=1", "Events:QueueLength=0", "Proxies:0=x");

    private static void WithFile(string content, Action<string> act)
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, content);
            act(file);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static void IsAccepted(params string[] settings) => Assert.That(Refusal([.. Valid, .. settings]), Is.Null);

    private static void IsRefused(string message, params string[] settings)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Refusal([.. Valid, .. settings]), Is.EqualTo(message));
            Assert.That(message, Does.Not.Contain("hunter2-hunter2").And.Not.Contain(Key));
        }
    }

    private static string[] Arguments(params string[] settings) => [.. Valid.Concat(settings).Select(setting => $"--{setting}")];

    // These tests are not about the Argon2id library, so it is not checked for each of them.
    private static WebApplication Build(string[] args) => Server.Build(args, services => services.AddSingleton(Run.Hasher));

    private static string? Refusal(string[] settings)
    {
        try
        {
            using var app = Build([.. settings.Select(setting => $"--{setting}")]) as IDisposable;
            return null;
        }
        catch (OperatorException e)
        {
            return e.ToString().Contains("hunter2-hunter2", StringComparison.Ordinal) ? "the secret is shown" : e.Message;
        }
    }

    private static TestCaseData Range(string setting, string lowest, string highest, string bounds, string[] outside) =>
        new TestCaseData(setting, lowest, highest, bounds, outside).SetArgDisplayNames(setting);
}
