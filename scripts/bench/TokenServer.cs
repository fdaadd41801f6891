using System.Diagnostics;
using System.Security.Cryptography;
using TokenService.Secrets;

namespace TokenService.Bench;

/// <summary>A build of the server.</summary>
/// <param name="Name">As the table has it.</param>
/// <param name="Command">The program that starts it, and its arguments.</param>
internal sealed record Build(string Name, string[] Command)
{
    public static Build Jit { get; } = new("JIT", ["dotnet", TokenServer.Program]);

    public static Build Native(string file) => new("native", [Path.GetFullPath(file)]);
}

/// <summary>Starts the TokenService that was built with this program, or its native build.</summary>
internal static class TokenServer
{
    /// <summary>
    /// The cheapest digests and the highest rate limits, for measurements that are not about hashing.
    /// </summary>
    public static readonly IReadOnlyDictionary<string, string> CheapHashes = new Dictionary<string, string>
    {
        ["Hashing__MemoryKiB"] = "8192",
        ["Hashing__Iterations"] = "1",
        ["Limits__FailuresPerClient"] = "10000",
        ["Limits__FailuresPerSource"] = "10000",
    };

    // Settings in the environment of the user are for another server, so they are removed.
    private static readonly string[] Settings =
    [
        "Issuer", "ConnectionStrings__", "Keys__", "Tokens__", "Hashing__", "Limits__", "Clients__", "Events__", "Proxies", "Urls",
        "ASPNETCORE_", "Logging__", "Assertions__", "Dpop__", "Profile",
    ];

    /// <summary>The issuer of every server.</summary>
    public const string Issuer = "http://127.0.0.1";

    private const string SealingKeyId = "bench";

    private static readonly byte[] SealingKey = RandomNumberGenerator.GetBytes(32);

    /// <summary>The key under which the servers keep MACs of verified secrets in the database.</summary>
    public static VerifiedSecretKey VerifiedSecretKey { get; } = VerifiedSecretKey.Derive(SealingKeyId, SealingKey);

    public static readonly string Program = Path.Combine(AppContext.BaseDirectory, "TokenService.dll");

    /// <param name="args">A command; none: the server.</param>
    /// <param name="connectionString">For its database, if it needs one.</param>
    /// <param name="settings">Settings that differ from the usual ones.</param>
    /// <param name="cores">The cores that the process may use; null: all.</param>
    public static Process Start(
        string[] args, string connectionString = "", IReadOnlyDictionary<string, string>? settings = null, string? cores = null) =>
        Process.Start(Cores.Pin(cores, StartInfo([Program, .. args], connectionString, settings)))!;

    /// <summary>Runs a command to its end.</summary>
    /// <returns>Its standard output.</returns>
    public static async Task<string> RunAsync(string[] args, string input, string connectionString, CancellationToken ct)
    {
        using var process = Start(args, connectionString, CheapHashes);
        await using var kill = ct.Register(process.Kill);
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        var output = await process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        await process.WaitForExitAsync(CancellationToken.None);
        ct.ThrowIfCancellationRequested();
        return process.ExitCode == 0
            ? output
            : throw new InvalidOperationException(
                $"TokenService {string.Join(' ', args)} failed; its output above says why.");
    }

    /// <param name="build">The server's build. Its log is read by this program.</param>
    /// <param name="connectionString">For its database.</param>
    /// <param name="settings">Settings that differ from the usual ones.</param>
    public static ProcessStartInfo StartInfo(Build build, string connectionString, IReadOnlyDictionary<string, string> settings)
    {
        var start = StartInfo(new ProcessStartInfo(build.Command[0], build.Command[1..]), connectionString, settings);
        start.RedirectStandardError = true;
        return start;
    }

    /// <param name="args">The arguments of dotnet. The errors of such a command are for the person who runs it.</param>
    /// <param name="connectionString">For its database, if it needs one.</param>
    /// <param name="settings">Settings that differ from the usual ones.</param>
    public static ProcessStartInfo StartInfo(
        string[] args, string connectionString = "", IReadOnlyDictionary<string, string>? settings = null) =>
        StartInfo(new ProcessStartInfo("dotnet", args), connectionString, settings);

    private static ProcessStartInfo StartInfo(
        ProcessStartInfo start, string connectionString, IReadOnlyDictionary<string, string>? settings)
    {
        start.RedirectStandardInput = true;
        start.RedirectStandardOutput = true;
        foreach (var name in start.Environment.Keys.Where(IsSetting).ToList())
            start.Environment.Remove(name);
        start.Environment["ConnectionStrings__TokenService"] = connectionString;
        start.Environment["ASPNETCORE_URLS"] = "http://127.0.0.1:0";
        start.Environment["Issuer"] = Issuer;
        start.Environment[$"Keys__SealingKeys__{SealingKeyId}"] = Convert.ToBase64String(SealingKey);
        // A killed process would leave its diagnostics socket behind.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        foreach (var (name, value) in settings ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        return start;
    }

    private static bool IsSetting(string name) => Settings.Any(prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));
}
