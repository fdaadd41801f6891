using System.Diagnostics;
using System.Security.Cryptography;

namespace TokenService.Bench;

/// <summary>The program that was built with this one.</summary>
internal static class TokenServer
{
    /// <summary>The least a digest may cost, and as many wrong ones as can be, for what is not about hashing.</summary>
    public static readonly IReadOnlyDictionary<string, string> CheapHashes = new Dictionary<string, string>
    {
        ["Hashing__MemoryKiB"] = "8192",
        ["Hashing__Iterations"] = "1",
        ["Limits__FailuresPerClient"] = "10000",
        ["Limits__FailuresPerSource"] = "10000",
    };

    // What somebody has exported for a server of his own is not meant for this one.
    private static readonly string[] Settings =
    [
        "Issuer", "ConnectionStrings__", "Keys__", "Tokens__", "Hashing__", "Limits__", "Clients__", "Events__", "Proxies", "Urls",
        "ASPNETCORE_", "Logging__",
    ];

    private static readonly string SealingKey = Convert.ToBase64String(RandomNumberGenerator.GetBytes(32));

    public static readonly string Program = Path.Combine(AppContext.BaseDirectory, "TokenService.dll");

    /// <param name="args">A command; none serves.</param>
    /// <param name="connectionString">Of its database, should it need one.</param>
    /// <param name="settings">Those that are not the usual.</param>
    /// <param name="cores">Which it may use; null: all.</param>
    public static Process Start(
        string[] args, string connectionString = "", IReadOnlyDictionary<string, string>? settings = null, string? cores = null) =>
        Process.Start(Cores.Pin(cores, StartInfo([Program, .. args], connectionString, settings)))!;

    /// <summary>Runs a command to its end.</summary>
    /// <returns>What it printed.</returns>
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
            : throw new InvalidOperationException($"TokenService {string.Join(' ', args)} failed; what it says stands above.");
    }

    /// <param name="args">For dotnet.</param>
    /// <param name="connectionString">Of its database, should it need one.</param>
    /// <param name="settings">Those that are not the usual.</param>
    public static ProcessStartInfo StartInfo(
        string[] args, string connectionString = "", IReadOnlyDictionary<string, string>? settings = null)
    {
        var start = new ProcessStartInfo("dotnet", args)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            // A server's log; what a command says there is for the person who runs this.
            RedirectStandardError = args is [_],
        };
        foreach (var name in start.Environment.Keys.Where(IsSetting).ToList())
            start.Environment.Remove(name);
        start.Environment["ConnectionStrings__TokenService"] = connectionString;
        start.Environment["ASPNETCORE_URLS"] = "http://127.0.0.1:0";
        start.Environment["Issuer"] = "http://127.0.0.1";
        start.Environment["Keys__SealingKeys__bench"] = SealingKey;
        // Killed, it would leave the socket of its diagnostics behind.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        foreach (var (name, value) in settings ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        return start;
    }

    private static bool IsSetting(string name) => Settings.Any(prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));
}
