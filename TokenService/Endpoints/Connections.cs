using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using TokenService.Limits;

namespace TokenService.Endpoints;

/// <summary>Counts Kestrel's connections, and finds the connection of a request.</summary>
internal static class Connections
{
    /// <summary>Limits the connections of an endpoint, from before its TLS handshake until they end.</summary>
    public static void Limit(this ListenOptions endpoint, ConnectionLimit limit) =>
        endpoint.Use(next => connection => RunAsync(connection, next, limit));

    /// <summary>
    /// The connection of a request. Null: HTTP/3, whose connections are not counted, and which no endpoint offers unless
    /// <c>Kestrel:Endpoints</c> says so.
    /// </summary>
    public static OpenConnection? OpenConnection(this HttpContext http) => (OpenConnection?)http.Features[typeof(OpenConnection)];

    /// <summary>Runs a part of a request during which its connection is not closed to make room for another.</summary>
    public static async ValueTask<T> WorkAsync<T>(this HttpContext http, Func<Task<T>> work)
    {
        var connection = http.OpenConnection();
        // If the connection is being closed already, the work does no harm; nobody gets its result.
        var isWorking = connection is not null && connection.TryBeginWork();
        try
        {
            return await work();
        }
        finally
        {
            if (isWorking)
                connection!.EndWork();
        }
    }

    private static async Task RunAsync(ConnectionContext connection, ConnectionDelegate next, ConnectionLimit limit)
    {
        if (limit.TryAdd(Abort) is not { } open)
        {
            Abort();
            return;
        }

        connection.Features.Set(open);
        try
        {
            await next(connection);
        }
        finally
        {
            limit.Remove(open);
        }

        void Abort() => connection.Abort(new ConnectionAbortedException("There are more connections than Limits:Connections."));
    }
}
