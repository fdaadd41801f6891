using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;

namespace Examples;

/// <summary>Sends each request with a token, and once more with a new token when the API refuses the first one.</summary>
/// <param name="credentials">Shared by all handlers of the program, because the factory replaces handlers.</param>
/// <param name="api">The only address that gets the token, because every receiver could use it.</param>
public sealed class ClientCredentialsHandler(ClientCredentials credentials, Uri api) : DelegatingHandler
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (request.RequestUri is not { } address || !api.IsBaseOf(address))
            throw new InvalidOperationException($"The token is for {api} and is not sent to {request.RequestUri}.");

        var token = await credentials.GetTokenAsync(cancellationToken);
        var response = await SendPatientlyAsync(request, token, cancellationToken);

        // 401: the token expired on its way, or was revoked, or its key was withdrawn, so a new token may succeed.
        // After 403 a new token would not help, because it would have the same scopes.
        if (response.StatusCode != HttpStatusCode.Unauthorized
            || !credentials.Drop(token)
            || !Patience.CanBeSentAgain(request.Content))
            return response;

        response.Dispose();
        return await SendPatientlyAsync(request, await credentials.GetTokenAsync(cancellationToken), cancellationToken);
    }

    // 429 and 503 ask to wait. HttpClient.Timeout limits all attempts together.
    private async Task<HttpResponseMessage> SendPatientlyAsync(HttpRequestMessage request, string token, CancellationToken ct)
    {
        request.Headers.Authorization = new AuthenticationHeaderValue(credentials.Scheme, token);
        for (var attempt = 1; ; attempt++)
        {
            var response = await base.SendAsync(request, ct);
            if (response.StatusCode is not (HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable)
                || !Patience.CanBeSentAgain(request.Content)
                || Patience.Wait(Patience.RetryAfter(response, credentials.Clock.GetUtcNow()), attempt) is not { } wait)
                return response;

            response.Dispose();
            await Task.Delay(wait, credentials.Clock, ct);
        }
    }
}

/// <summary>How a client authenticates at the token endpoint: <see cref="ClientSecret"/> or <c>ClientKey</c>.</summary>
public abstract class ClientAuthentication
{
    /// <summary>Adds what authenticates the client to the headers, or returns what belongs into the form.</summary>
    internal abstract IEnumerable<KeyValuePair<string, string?>> AddTo(HttpRequestMessage request, DateTimeOffset now);
}

/// <summary>A client with a secret (<c>client_secret_basic</c>, RFC 6749 §2.3.1).</summary>
/// <param name="clientId">The client_id of this program.</param>
/// <param name="secret">From the environment or a vault; never in the code.</param>
public sealed class ClientSecret(string clientId, string secret) : ClientAuthentication
{
    // RFC 6749 §2.3.1: id and secret are form-encoded before Base64.
    private readonly string authorization =
        Convert.ToBase64String(Encoding.ASCII.GetBytes($"{FormEncode(clientId)}:{FormEncode(secret)}"));

    internal override IEnumerable<KeyValuePair<string, string?>> AddTo(HttpRequestMessage request, DateTimeOffset now)
    {
        request.Headers.Authorization = new AuthenticationHeaderValue("Basic", authorization);
        return [];
    }

    private static string FormEncode(string value) => Uri.EscapeDataString(value).Replace("%20", "+", StringComparison.Ordinal);
}

/// <summary>
/// Gets a client's token by the client credentials grant (RFC 6749 §4.4) and keeps it until it expires.
/// A program has one instance for each scope and resource.
/// <list type="bullet">
/// <item>The token is kept for many calls. A token request for each call would double its time and reach a rate
/// limit.</item>
/// <item>There is one token request at a time: a thousand calls that find no token send one request.</item>
/// <item>The token is renewed in the background when 80 % of its life has passed or, if that is sooner, 60 seconds before
/// its end. No call waits for it, and there is time to retry when the token endpoint is unavailable.</item>
/// <item>The moment is up to a tenth of the life sooner, at random, so that replicas that start together do not renew
/// together.</item>
/// </list>
/// </summary>
public sealed class ClientCredentials
{
    // RFC 6749 §5.1 only recommends expires_in. TokenService always sends it.
    private const double DefaultLifetime = 60;

    private const double MaxLifetime = 24 * 60 * 60;

    // The pause after a failure, so that a wrong secret, or an API that refuses every token, does not cause a token
    // request for each call.
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    private readonly HttpClient http;
    private readonly Uri endpoint;
    private readonly ClientAuthentication client;
    private readonly string? scope;
    private readonly string? resource;

    private readonly Lock gate = new();
    private Token? current;
    private Task<Token>? asking;
    private DateTimeOffset askAgainAt;
    private DateTimeOffset dropAgainAt;

    /// <param name="http">Has a timeout, and no <see cref="ClientCredentialsHandler"/>.</param>
    /// <param name="endpoint">The token_endpoint of the server's metadata.</param>
    /// <param name="client">How this program authenticates.</param>
    /// <param name="scope">The requested scopes; null: the client's default scopes.</param>
    /// <param name="resource">The API (RFC 8707), if the scopes do not determine it; null: they do.</param>
    /// <param name="isBound">
    /// Whether the token is bound to a key (RFC 9449). Then <paramref name="http"/> and the client of the API each have a
    /// <c>DpopHandler</c> with the same key.
    /// </param>
    /// <param name="clock">The system's clock, except in tests.</param>
    public ClientCredentials(
        HttpClient http, Uri endpoint, ClientAuthentication client, string? scope = null, string? resource = null,
        bool isBound = false, TimeProvider? clock = null)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        if (endpoint.Scheme != Uri.UriSchemeHttps && !endpoint.IsLoopback)
            throw new ArgumentException($"The token would come from {endpoint} unencrypted.", nameof(endpoint));

        this.http = http;
        this.endpoint = endpoint;
        this.client = client;
        this.scope = scope;
        this.resource = resource;
        Scheme = isBound ? "DPoP" : "Bearer";
        Clock = clock ?? TimeProvider.System;
    }

    /// <summary>The scheme by which an API gets the token, and the type that the token must have.</summary>
    internal string Scheme { get; }

    internal TimeProvider Clock { get; }

    /// <exception cref="TokenRequestException">There is no token, and the token request failed.</exception>
    public async Task<string> GetTokenAsync(CancellationToken ct = default)
    {
        Task<Token> answer;
        lock (gate)
        {
            var now = Clock.GetUtcNow();
            // The request does not use this caller's ct: a caller that gives up must not cancel it for the others.
            if (asking is null || (asking.IsCompleted && now >= askAgainAt))
                asking = Task.Run(AskAsync, CancellationToken.None);
            // The current token is used until it expires, even if its renewal fails.
            if (current is not null && now < current.ExpiresAt)
                return current.Value;
            answer = asking;
        }

        return (await answer.WaitAsync(ct)).Value;
    }

    /// <summary>Forgets a token that an API has refused.</summary>
    /// <returns>Whether to try a new token. False shortly after another was dropped: then the token is not at
    /// fault.</returns>
    public bool Drop(string token)
    {
        lock (gate)
        {
            if (current?.Value != token)
                return true; // another call has dropped or renewed it
            var now = Clock.GetUtcNow();
            if (now < dropAgainAt)
                return false;
            current = null;
            askAgainAt = now;
            dropAgainAt = now + Patience.WithJitter(Pause);
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
                askAgainAt = token.AskedAt + RenewAfter(token.ExpiresAt - token.AskedAt);
            }

            return token;
        }
        catch (TokenRequestException e)
        {
            // When Retry-After was too long to wait, no token request is sent until it has passed.
            lock (gate)
                askAgainAt = Clock.GetUtcNow() + Patience.WithJitter(e.RetryAfter ?? Pause);
            throw;
        }
    }

    private async Task<Token> AskUntilAnsweredAsync()
    {
        for (var attempt = 1; ; attempt++)
        {
            TimeSpan wait;
            try
            {
                return await AskOnceAsync();
            }
            catch (TokenRequestException e) when (e.IsTransient && Patience.Wait(e.RetryAfter, attempt) is { } time)
            {
                wait = time;
            }

            await Task.Delay(wait, Clock);
        }
    }

    // A token of less than two minutes is kept for half of its life.
    private static TimeSpan RenewAfter(TimeSpan life)
    {
        var latest = Math.Max(Math.Min(0.8 * life.TotalSeconds, life.TotalSeconds - 60), 0.5 * life.TotalSeconds);
        return TimeSpan.FromSeconds(latest - 0.1 * life.TotalSeconds * Random.Shared.NextDouble());
    }

    private async Task<Token> AskOnceAsync()
    {
        // The time is read before the request, so the token is never believed to live longer than it does.
        var now = Clock.GetUtcNow();
        using var request = new HttpRequestMessage(HttpMethod.Post, endpoint);
        KeyValuePair<string, string?>[] form =
        [
            new("grant_type", "client_credentials"), new("scope", scope), new("resource", resource), .. client.AddTo(request, now),
        ];
        request.Content = new FormUrlEncodedContent(form.Where(parameter => parameter.Value is not null));
        try
        {
            using var response = await http.SendAsync(request);
            var body = Json(await response.Content.ReadAsStringAsync());
            // RFC 6749 §7.1: a client must not use a token of a type that it does not understand. RFC 9449 §5: a server
            // that knows no DPoP would issue an unbound one.
            return response.IsSuccessStatusCode && Text(body, "access_token") is { } token
                && string.Equals(Text(body, "token_type"), Scheme, StringComparison.OrdinalIgnoreCase)
                ? new Token(token, now, now + Lifetime(body))
                : throw TokenRequestException.Of(response, Text(body, "error"), Text(body, "error_description"), now);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            throw TokenRequestException.NotReached(endpoint, e);
        }
    }

    private static TimeSpan Lifetime(JsonElement body) => TimeSpan.FromSeconds(
        body.TryGetProperty("expires_in", out var value) && value.ValueKind == JsonValueKind.Number
            ? Math.Clamp(value.GetDouble(), 0, MaxLifetime)
            : DefaultLifetime);

    // A proxy's error page is not JSON. The parser's error is not shown, because the body might contain a token.
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

    // This is a class because the ToString of a record would show the token.
    private sealed class Token(string value, DateTimeOffset askedAt, DateTimeOffset expiresAt)
    {
        public string Value => value;

        public DateTimeOffset AskedAt => askedAt;

        public DateTimeOffset ExpiresAt => expiresAt;
    }
}

/// <summary>Decides how long to wait when the token endpoint or the API asks for it.</summary>
internal static class Patience
{
    private const int MaxWaits = 3;
    private static readonly TimeSpan MaxWait = TimeSpan.FromMinutes(1);

    /// <summary>Retry-After says how long to wait; without it, the waits are one, two and four seconds.</summary>
    /// <returns>Null: the answer is to be believed, because there were enough attempts or the wait is too long.</returns>
    public static TimeSpan? Wait(TimeSpan? retryAfter, int attempt)
    {
        var wait = retryAfter ?? TimeSpan.FromSeconds(1 << (attempt - 1));
        return attempt > MaxWaits || wait > MaxWait ? null : WithJitter(wait);
    }

    /// <summary>Adds up to a quarter, because other replicas were told to wait as long.</summary>
    public static TimeSpan WithJitter(TimeSpan time) => time * (1 + 0.25 * Random.Shared.NextDouble());

    /// <summary>Whether content is in memory. A stream may have been read to its end.</summary>
    public static bool CanBeSentAgain(HttpContent? content) =>
        content is null or ByteArrayContent or ReadOnlyMemoryContent or JsonContent;

    /// <returns>Null: the answer does not say.</returns>
    public static TimeSpan? RetryAfter(HttpResponseMessage response, DateTimeOffset now)
    {
        var wait = response.Headers.RetryAfter;
        return wait?.Delta ?? (wait?.Date is { } date && date > now ? date - now : null);
    }
}

/// <summary>
/// No token could be got. The message shows the server's error and Request-Id, never a secret or token.
/// </summary>
public sealed class TokenRequestException : Exception
{
    private TokenRequestException(string message, Exception? cause = null)
        : base(message, cause)
    {
    }

    /// <summary>Whether the same request may succeed a little later. A wrong secret or scope will not.</summary>
    public bool IsTransient { get; private init; }

    /// <summary>How long the server asks to wait; null: it did not say.</summary>
    public TimeSpan? RetryAfter { get; private init; }

    internal static TokenRequestException NotReached(Uri endpoint, Exception cause) =>
        new($"The token endpoint {endpoint} did not answer.", cause) { IsTransient = true };

    internal static TokenRequestException Of(HttpResponseMessage response, string? error, string? description, DateTimeOffset now)
    {
        var status = (int)response.StatusCode;
        var id = response.Headers.TryGetValues("Request-Id", out var ids) ? string.Join(", ", ids) : "none";
        return new TokenRequestException(string.Create(
            CultureInfo.InvariantCulture,
            $"No token: {status} {error ?? "without an OAuth error"}: {description ?? "no description"} (Request-Id: {id})"))
        {
            IsTransient = status is 408 or 429 or >= 500,
            RetryAfter = Patience.RetryAfter(response, now),
        };
    }
}
