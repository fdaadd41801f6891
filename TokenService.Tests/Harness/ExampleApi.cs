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

    private ExampleApi(Process process, Uri address, TestCertificate? certificate)
    {
        this.process = process;
        Address = address;
        client = new HttpClient(certificate?.NewHandler() ?? new SocketsHttpHandler()) { BaseAddress = address };
        // Without a reader the program would block once its output fills the pipe.
        output = process.StandardOutput.ReadToEndAsync();
    }

    public Uri Address { get; }

    /// <param name="authority">The issuer of its tokens.</param>
    /// <param name="audience">Its own id.</param>
    /// <param name="settings">Further settings, as <c>--Name=value</c>.</param>
    public static Task<ExampleApi> StartAsync(
        string authority, string audience = "https://api.example.com", params string[] settings) =>
        StartAsync(certificate: null, ["--urls", "http://127.0.0.1:0", "--Authority", authority, "--Audience", audience, .. settings]);

    /// <summary>The same over TLS.</summary>
    /// <param name="authority">The issuer of its tokens, which has the same certificate.</param>
    /// <param name="certificate">Its own certificate. It trusts no other.</param>
    public static Task<ExampleApi> StartAsync(string authority, TestCertificate certificate) => StartAsync(
        certificate,
        [
            "--urls", "https://127.0.0.1:0", "--Kestrel:Certificates:Default:Path", certificate.Path,
            "--Authority", authority, "--Audience", "https://api.example.com",
        ]);

    private static async Task<ExampleApi> StartAsync(TestCertificate? certificate, string[] args)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Examples.Api.dll"), .. args])
        {
            RedirectStandardOutput = true,
        };
        // .NET on Linux takes the certificates that it trusts from this file.
        if (certificate is not null)
            start.Environment["SSL_CERT_FILE"] = certificate.PublicPath;
        var process = Process.Start(start)!;
        try
        {
            using var limit = new CancellationTokenSource(Limit);
            while (await process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
            {
                if (line.Contains(Listening, StringComparison.Ordinal))
                    return new ExampleApi(process, new Uri(line.Split(Listening)[1]), certificate);
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
    /// <returns>The lines that it logged since it listened.</returns>
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
