namespace TokenService.Tests.Harness;

/// <summary>Requests without a body, for the public documents.</summary>
internal static class Reading
{
    public static Task<Answer> GetAsync(this TestServer server, string address, params (string Name, string Value)[] headers) =>
        server.SendAsync(HttpMethod.Get, address, headers);

    /// <param name="server">The server that answers, also when the address names another host.</param>
    /// <param name="method">Any that has no body.</param>
    /// <param name="address">A path, or an http address whose host becomes the Host header.</param>
    /// <param name="headers">Sent as they are; a name may repeat.</param>
    public static async Task<Answer> SendAsync(
        this TestServer server, HttpMethod method, string address, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, address);
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        using var response = await server.Client.SendAsync(request);
        return await Answer.ReadAsync(response);
    }
}
