using System.Diagnostics;

namespace TokenService.Tests.Harness;

/// <summary>The API of scripts/examples/aspnetcore-api, run as a separate program with nothing replaced.</summary>
internal sealed class ExampleApi : IAsyncDisposable
{
    private const string Listening = "Now listening on: ";

    // Much longer than a start takes.
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    private readonly Process process;
    private readonly HttpClient client;
    private readonly Task<string> output;

    private ExampleApi(Process process, Uri address)
    {
        this.process = process;
        Address = address;
        client = new HttpClient { BaseAddress = address };
        // Without a reader the program would block once its output fills the pipe.
        output = process.StandardOutput.ReadToEndAsync();
    }

    public Uri Address { get; }

    /// <param name="authority">The issuer of its tokens.</param>
    /// <param name="audience">Its own id.</param>
    /// <param name="settings">Further settings, as <c>--Name=value</c>.</param>
    public static async Task<ExampleApi> StartAsync(
        string authority, string audience = "https://api.example.com", params string[] settings)
    {
        string[] args =
        [
            Path.Combine(AppContext.BaseDirectory, "Examples.Api.dll"),
            "--urls", "http://127.0.0.1:0", "--Authority", authority, "--Audience", audience, .. settings,
        ];
        var process = Process.Start(new ProcessStartInfo("dotnet", args) { RedirectStandardOutput = true })!;
        try
        {
            using var limit = new CancellationTokenSource(Limit);
            while (await process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
            {
                if (line.Contains(Listening, StringComparison.Ordinal))
                    return new ExampleApi(process, new Uri(line.Split(Listening)[1]));
            }

            throw new InvalidOperationException("The example ended before it listened.");
        }
        catch
        {
            process.Kill(entireProcessTree: true);
            process.Dispose();
            throw;
        }
    }

    public async Task<Answer> SendAsync(HttpMethod method, string? authorization)
    {
        using var request = new HttpRequestMessage(method, "/invoices");
        if (authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        return await SendAsync(request);
    }

    public async Task<Answer> SendAsync(HttpRequestMessage request)
    {
        using var response = await client.SendAsync(request);
        return await Answer.ReadAsync(response);
    }

    public Task<Answer> GetAsync(string? authorization) => SendAsync(HttpMethod.Get, authorization);

    /// <summary>Stops it as an operator does.</summary>
    /// <returns>What it logged since it listened.</returns>
    public async Task<string> StopAsync()
    {
        await Tool.RunAsync("sh", ["-c", $"kill -TERM {process.Id}"]);
        await process.WaitForExitAsync();
        return await output;
    }

    public async ValueTask DisposeAsync()
    {
        client.Dispose();
        process.Kill(entireProcessTree: true);
        await output;
        process.Dispose();
    }
}
