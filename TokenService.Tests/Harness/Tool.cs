using System.Diagnostics;

namespace TokenService.Tests.Harness;

/// <summary>The exit code and the output of a program that has ended.</summary>
internal sealed record Tool(int ExitCode, string Output, string Error)
{
    // Much longer than any program takes: a hanging program fails its test instead of hanging the run.
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    /// <summary>
    /// The command that is TokenService: the native build that <c>TEST_PROGRAM</c> names, else the build that the tests
    /// refer to.
    /// </summary>
    public static string[] Command { get; } = Environment.GetEnvironmentVariable("TEST_PROGRAM") is { Length: > 0 } program
        ? [Path.GetFullPath(program, Repository.Root)]
        : ["dotnet", typeof(Server).Assembly.Location];

    /// <summary>Runs TokenService as an operator does.</summary>
    /// <param name="args">The command line.</param>
    /// <param name="input">All of its standard input.</param>
    /// <param name="environment">Settings, as in <c>ConnectionStrings__TokenService</c>.</param>
    public static Task<Tool> TokenServiceAsync(string[] args, string input = "", params (string Name, string Value)[] environment) =>
        RunAsync(Command[0], [.. Command[1..], .. args], input, environment);

    public static async Task<Tool> RunAsync(
        string program, string[] args, string input = "", params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(program, args)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in environment)
            start.Environment[name] = value;

        using var process = Process.Start(start)!;
        using var limit = new CancellationTokenSource(Limit);
        await using var kill = limit.Token.Register(() => process.Kill(entireProcessTree: true));
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var error = process.StandardError.ReadToEndAsync(CancellationToken.None);
        await process.WaitForExitAsync(CancellationToken.None);
        return new Tool(process.ExitCode, await output, await error);
    }

    /// <summary>The value of a <c>name=value</c> line of the output.</summary>
    public string Value(string name) =>
        Output.Split('\n').Single(line => line.StartsWith(name + '=', StringComparison.Ordinal))[(name.Length + 1)..];
}
