using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;

namespace Examples;

/// <summary>Sends each request with a token, and once more with a new token when the API refuses the first one.</summary>
/// <param name="credentials">Shared by all handlers of the program, which come and go.</param>
/// <param name="api">Where the token may go: whoever gets it can use it.</param>
public sealed class ClientCredentialsHandler(ClientCredentials credentials, Uri api) : DelegatingHandler
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (request.RequestUri is not { } address || !api.IsBaseOf(address))
            throw new InvalidOperationException($"The token is for {api} and is not sent to {request.RequestUri}.");

        var token = await credentials.GetTokenAsync(cancellationToken);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        var response = await base.SendAsync(request, cancellationToken);

        // 401: the token ended on its way, or was revoked, or its key was withdrawn, and a new one will do. 403 is another matter:
        // a new token would have no more scopes than this one.
        if (response.StatusCode != HttpStatusCode.Unauthorized || !credentials.Drop(token) || !CanBeSentAgain(request.Content))
            return response;

        response.Dispose();
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", await credentials.GetTokenAsync(cancellationToken));
        return await base.SendAsync(request, cancellationToken);
    }

    // What is in memory. A stream may have been read to its end.
    private static bool CanBeSentAgain(HttpContent? content) => content is null or ByteArrayContent or ReadOnlyMemoryContent or JsonContent;
}

/// <summary>
/// A client's token, got by the client credentials grant (RFC 6749 §4.4) and kept while it lives.
/// One for each program, scope and resource.
/// <list type="bullet">
/// <item>Kept, because a token is good for many calls: asking for each would double the time of every call, and end at a limit.</item>
/// <item>One request at a time, whoever waits for it: a thousand calls that find no token ask once.</item>
/// <item>Renewed early, between 70 and 85 % of its life, beside the calls: none waits for it, and there is time left to try again
/// when the token endpoint is away.</item>
/// <item>At a random moment of that time, because a hundred replicas that start together would otherwise ask together for ever.</item>
/// </list>
/// </summary>
public sealed class ClientCredentials
{
    private const int Attempts = 3;

    // RFC 6749 §5.1 only recommends to say how long a token lives. TokenService always does.
    private const double UnsaidLifetime = 60;

    private const double LongestLifetime = 24 * 60 * 60;

    // A longer wait is not sat out by the calls: they fail, and until it is over the token endpoint is left alone.
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(10);

    // After a failure, so that a wrong secret, or an API that takes no token, does not mean a request for each call.
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    private readonly HttpClient http;
    private readonly Uri endpoint;
    private readonly string authorization;
    private readonly string? scope;
    private readonly string? resource;
    private readonly TimeProvider clock;

    private readonly Lock gate = new();
    private Token? current;
    private Task<Token>? asking;
    private DateTimeOffset askAgainAt;
    private DateTimeOffset dropAgainAt;

    /// <param name="http">Has a timeout, and no <see cref="ClientCredentialsHandler"/>.</param>
    /// <param name="endpoint">As the server's metadata says.</param>
    /// <param name="clientId">Who this program is.</param>
    /// <param name="clientSecret">From the environment or a vault; never in the code.</param>
    /// <param name="scope">What to ask for; null for the client's default.</param>
    /// <param name="resource">What it is for (RFC 8707), where the scopes do not say; null: they do.</param>
    /// <param name="clock">The system's, unless a test has another.</param>
    public ClientCredentials(
        HttpClient http, Uri endpoint, string clientId, string clientSecret, string? scope = null, string? resource = null,
        TimeProvider? clock = null)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        if (endpoint.Scheme != Uri.UriSchemeHttps && !endpoint.IsLoopback)
            throw new ArgumentException($"The secret would go to {endpoint} for all to read.", nameof(endpoint));

        this.http = http;
        this.endpoint = endpoint;
        this.scope = scope;
        this.resource = resource;
        this.clock = clock ?? TimeProvider.System;
        // RFC 6749 §2.3.1: each form-encoded before both become Base64.
        authorization = Convert.ToBase64String(Encoding.ASCII.GetBytes($"{FormEncode(clientId)}:{FormEncode(clientSecret)}"));
    }

    /// <exception cref="TokenRequestException">There is no token, and none is to be had.</exception>
    public async Task<string> GetTokenAsync(CancellationToken ct = default)
    {
        Task<Token> answer;
        lock (gate)
        {
            var now = clock.GetUtcNow();
            // Not this caller's own: one who gives up must not take the token from those who wait with him.
            if (asking is null || (asking.IsCompleted && now >= askAgainAt))
                asking = Task.Run(AskAsync, CancellationToken.None);
            // Good to its end, whatever becomes of the request for the next one.
            if (current is not null && now < current.ExpiresAt)
                return current.Value;
            answer = asking;
        }

        return (await answer.WaitAsync(ct)).Value;
    }

    /// <summary>Forgets a token that an API has refused.</summary>
    /// <returns>Whether another is worth a try. Not if one was dropped just now: then the fault is not the token's.</returns>
    public bool Drop(string token)
    {
        lock (gate)
        {
            if (current?.Value != token)
                return true; // another call was faster
            var now = clock.GetUtcNow();
            if (now < dropAgainAt)
                return false;
            current = null;
            askAgainAt = now;
            dropAgainAt = now + Later(Pause);
            return true;
        }
    }

    private async Task<Token> AskAsync()
    {
        try
        {
            var token = await AskUntilAnsweredAsync();
            lock (gate)
            {
                current = token;
                askAgainAt = token.AskedAt + (token.ExpiresAt - token.AskedAt) * (0.70 + 0.15 * Random.Shared.NextDouble());
            }

            return token;
        }
        catch (TokenRequestException e)
        {
            lock (gate)
                askAgainAt = clock.GetUtcNow() + Later(e.RetryAfter ?? Pause);
            throw;
        }
    }

    private async Task<Token> AskUntilAnsweredAsync()
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await AskOnceAsync();
            }
            catch (TokenRequestException e) when (e.IsPassing && attempt < Attempts && !(e.RetryAfter > LongestWait))
            {
                // 429 and 503 say when to come back; where nothing is said, a second, then two.
                await Task.Delay(Later(e.RetryAfter ?? TimeSpan.FromSeconds(attempt)), clock);
            }
        }
    }

    private async Task<Token> AskOnceAsync()
    {
        // Before the request: the token's life began no sooner than this, so it is never taken for longer than it is.
        var now = clock.GetUtcNow();
        using var request = new HttpRequestMessage(HttpMethod.Post, endpoint);
        request.Headers.Authorization = new AuthenticationHeaderValue("Basic", authorization);
        KeyValuePair<string, string?>[] form = [new("grant_type", "client_credentials"), new("scope", scope), new("resource", resource)];
        request.Content = new FormUrlEncodedContent(form.Where(parameter => parameter.Value is not null));
        try
        {
            using var response = await http.SendAsync(request);
            var body = Json(await response.Content.ReadAsStringAsync());
            // RFC 6749 §7.1: a token of a type one does not understand is not to be used.
            return response.IsSuccessStatusCode && Text(body, "access_token") is { } token
                && string.Equals(Text(body, "token_type"), "Bearer", StringComparison.OrdinalIgnoreCase)
                ? new Token(token, now, now + Lifetime(body))
                : throw TokenRequestException.Of(response, Text(body, "error"), Text(body, "error_description"), now);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            throw TokenRequestException.NotReached(endpoint, e);
        }
    }

    // Up to a quarter more, since others were told the same.
    private static TimeSpan Later(TimeSpan time) => time * (1 + 0.25 * Random.Shared.NextDouble());

    private static TimeSpan Lifetime(JsonElement body) => TimeSpan.FromSeconds(
        body.TryGetProperty("expires_in", out var value) && value.ValueKind == JsonValueKind.Number
            ? Math.Clamp(value.GetDouble(), 0, LongestLifetime)
            : UnsaidLifetime);

    // A proxy's error page is no JSON. What is wrong with it is not told, since the body might hold a token.
    private static JsonElement Json(string body)
    {
        try
        {
            return JsonElement.Parse(body) is { ValueKind: JsonValueKind.Object } json ? json : JsonElement.Parse("{}");
        }
        catch (JsonException)
        {
            return JsonElement.Parse("{}");
        }
    }

    private static string? Text(JsonElement body, string name) =>
        body.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static string FormEncode(string value) => Uri.EscapeDataString(value).Replace("%20", "+", StringComparison.Ordinal);

    // Not a record, whose ToString would show the token.
    private sealed class Token(string value, DateTimeOffset askedAt, DateTimeOffset expiresAt)
    {
        public string Value => value;

        public DateTimeOffset AskedAt => askedAt;

        public DateTimeOffset ExpiresAt => expiresAt;
    }
}

/// <summary>No token was to be had. The message has what the server said and its name for the request, never a secret or token.</summary>
public sealed class TokenRequestException : Exception
{
    private TokenRequestException(string message, Exception? cause = null)
        : base(message, cause)
    {
    }

    /// <summary>Whether the same request may succeed a little later. A wrong secret or scope will not.</summary>
    public bool IsPassing { get; private init; }

    /// <summary>When the server wants to be asked again; null: it did not say.</summary>
    public TimeSpan? RetryAfter { get; private init; }

    internal static TokenRequestException NotReached(Uri endpoint, Exception cause) =>
        new($"The token endpoint {endpoint} did not answer.", cause) { IsPassing = true };

    internal static TokenRequestException Of(HttpResponseMessage response, string? error, string? description, DateTimeOffset now)
    {
        var status = (int)response.StatusCode;
        var id = response.Headers.TryGetValues("Request-Id", out var ids) ? string.Join(", ", ids) : "none";
        var wait = response.Headers.RetryAfter;
        return new TokenRequestException(string.Create(
            CultureInfo.InvariantCulture,
            $"No token: {status} {error ?? "without an OAuth error"}: {description ?? "no description"} (Request-Id: {id})"))
        {
            IsPassing = status is 408 or 429 or >= 500,
            RetryAfter = wait?.Delta ?? (wait?.Date is { } date && date > now ? date - now : null),
        };
    }
}
