using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;

namespace TokenService.Tests.Harness;

/// <summary>Makes a request come from another address, because a test can connect only from its own.</summary>
internal sealed class PeerFilter : IStartupFilter
{
    /// <summary>The header that names the address.</summary>
    public const string Header = "Test-Peer";

    public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
    {
        app.Use((http, then) =>
        {
            if (http.Request.Headers[Header] is [{ } peer])
                http.Connection.RemoteIpAddress = IPAddress.Parse(peer);
            return then(http);
        });
        next(app);
    };
}
