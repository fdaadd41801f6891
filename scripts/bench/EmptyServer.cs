using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace TokenService.Bench;

/// <summary>
/// The K of the ceiling: a minimal API with the server's Kestrel settings and scheduling, which reads the form and answers constant
/// JSON.
/// </summary>
internal static class EmptyServer
{
    /// <param name="length">The length of the answer's body, in bytes.</param>
    public static async Task<int> ServeAsync(int length)
    {
        Scheduling.PreferBatch();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.RequestHeaderEncodingSelector = _ => Encoding.Latin1;
        });

        await using var app = builder.Build();
        var answer = Encoding.ASCII.GetBytes($"{{\"access_token\":\"{new string('x', length - 19)}\"}}");
        app.Map("/token", async (HttpContext http) =>
        {
            await http.Request.ReadFormAsync(http.RequestAborted);
            http.Response.ContentType = "application/json";
            http.Response.ContentLength = answer.Length;
            await http.Response.Body.WriteAsync(answer, http.RequestAborted);
        });
        await app.RunAsync();
        return 0;
    }
}
