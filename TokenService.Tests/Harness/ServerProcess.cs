using System.Diagnostics;
using System.Text.RegularExpressions;

namespace TokenService.Tests.Harness;

/// <summary>
/// TokenService as a process of its own, for what it does with its descriptors. A shell starts it, so a test may
/// redirect its output and run other programs beside it. Its clock is real.
/// </summary>
internal sealed partial class ServerProcess : IAsyncDisposable
{
    private readonly Process process;

    private ServerProcess(Process process, Uri address)
    {
        this.process = process;
        // One connection that stays open, so that a process without a free descriptor can be asked.
        Client = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 1 }) { BaseAddress = address };
    }

    public HttpClient Client { get; }

    /// <summary>The process of the shell; that of the server where the script replaces the shell by it.</summary>
    public int Id => process.Id;

    /// <param name="database">The server's database.</param>
    /// <param name="script">
    /// The shell's script, in which <c>"$@"</c> is the server and its log goes to <c>$log</c>.
    /// </param>
    /// <param name="log">The file of <c>$log</c>.</param>
    /// <param name="settings">Added to the standard settings, as <c>Name=value</c>.</param>
    public static async Task<ServerProcess> StartAsync(Database database, string script, string log, params string[] settings)
    {
        var start = new ProcessStartInfo(
            "sh", ["-c", script, "sh", .. Tool.Command, .. TestServer.CommandLine(database.ConnectionString, settings)]);
        start.Environment["log"] = log;
        var process = Process.Start(start)!;
        try
        {
            Match? listening = null;
            await Soon.IsAsync("the server listens", async () =>
            {
                Assert.That(process.HasExited, Is.False, "The server ended before it listened.");
                listening = File.Exists(log) ? Listening().Match(await File.ReadAllTextAsync(log)) : null;
                return listening is { Success: true };
            });
            return new ServerProcess(process, new Uri(listening!.Groups[1].Value));
        }
        catch
        {
            process.Kill(entireProcessTree: true);
            process.Dispose();
            throw;
        }
    }

    /// <summary>Sets a soft limit of the process, such as <c>--nofile=3</c>.</summary>
    public async Task LimitAsync(string limit)
    {
        var tool = await Tool.RunAsync("prlimit", ["--pid", $"{Id}", $"{limit}:"]);
        Assert.That(tool.ExitCode, Is.Zero, tool.Error);
    }

    /// <summary>Stops the server as an operator does, and waits until the shell has ended too.</summary>
    public async Task StopAsync()
    {
        await Tool.RunAsync("sh", ["-c", $"kill -TERM {Id}"]);
        await process.WaitForExitAsync();
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        if (!process.HasExited)
            process.Kill(entireProcessTree: true);
        await process.WaitForExitAsync();
        process.Dispose();
    }

    [GeneratedRegex(@"Now listening on: (http://127\.0\.0\.1:\d+)")]
    private static partial Regex Listening();
}
