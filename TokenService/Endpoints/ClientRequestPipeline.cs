using Microsoft.Extensions.Primitives;
using TokenService.Audit;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Usage;

namespace TokenService.Endpoints;

/// <summary>A request of an authenticated client, as the pipeline hands it to an endpoint.</summary>
/// <param name="Client">The client.</param>
/// <param name="Form">What it sent.</param>
/// <param name="Accept">The media types that it takes; empty: any.</param>
/// <param name="Event">What the event log will say of the request; the endpoint adds what it knows.</param>
internal sealed record ClientRequest(Client Client, Form Form, StringValues Accept, RequestEvent Event);

/// <summary>What an endpoint does for an authenticated client.</summary>
internal delegate ValueTask<Result<IAnswer>> ClientRequestHandler(ClientRequest request, CancellationToken ct);

/// <summary>
/// The way of every request that authenticates a client: the token, introspection and revocation endpoints share its steps, so that none
/// can be forgotten. A step that refuses is the last: nothing after it is read or done.
/// </summary>
internal sealed partial class ClientRequestPipeline(
    FormReader reader,
    ClientAuthenticator authenticator,
    ConcurrencyLimit concurrency,
    RefusalThrottle throttle,
    UsageCounters usage,
    EventLog events,
    Issuer issuer,
    TimeProvider clock,
    ILogger<ClientRequestPipeline> logger)
{
    // None of these may stand in an address, because logs and caches keep addresses (RFC 6749 §2.3.1).
    private static readonly string[] CredentialParameters = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

    private static readonly TimeSpan RetryAfterDatabaseUnavailable = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan RetryAfterTooMany = TimeSpan.FromSeconds(1);

    /// <param name="http">The request and its response.</param>
    /// <param name="path">The endpoint's path, under the issuer.</param>
    /// <param name="handler">What the endpoint does for an authenticated client.</param>
    public async Task AnswerAsync(HttpContext http, string path, ClientRequestHandler handler)
    {
        var began = clock.GetTimestamp();
        var requestEvent = new RequestEvent
        {
            Time = clock.GetUtcNow(),
            RequestId = http.TraceIdentifier,
            Endpoint = path,
            Source = http.Connection.RemoteIpAddress,
        };

        // Steps 1 to 6.
        var result = await HandleAsync(http, requestEvent, handler);

        // 7. One event, then the response, so that no token leaves without its event.
        var isGranted = result.TryGet(out var answer, out var error);
        requestEvent.SetOutcome(error, clock.GetElapsedTime(began));
        if (!events.TryAdd(requestEvent) && !await WaitForEventAsync(http, requestEvent))
            return;

        // A refused caller that was not authenticated may have to wait for its turn. It is in flight no longer, so those who wait here
        // keep nobody out.
        if (error?.Status < StatusCodes.Status500InternalServerError && requestEvent.Credential is null)
            await throttle.WaitAsync(http.RequestAborted);
        if (http.RequestAborted.IsCancellationRequested)
            return;
        if (isGranted)
            await OAuthResponse.GrantAsync(http, answer!);
        else
            await OAuthResponse.RefuseAsync(http, error!);
    }

    private async ValueTask<Result<IAnswer>> HandleAsync(HttpContext http, RequestEvent requestEvent, ClientRequestHandler handler)
    {
        var (request, isInFlight) = (http.Request, false);
        try
        {
            // 1. RFC 6749 §3.2: POST only, spelled as RFC 9110 §9.1 has it. §1.6: TLS only, unless the issuer itself is a plain http
            // address of a developer's machine. §2.3.1: no credentials in the address.
            if (RefusalOfAddress(request) is { } refusal)
                return refusal;

            // 2. RFC 6749 §3.2 and appendix B: the form, read once.
            if (!(await reader.ReadAsync(request)).TryGet(out var form, out var error))
                return error;

            // 3. RFC 6749 §2.3: the one way the caller authenticates.
            if (!ClientCredentials.Read(request.Headers.Authorization, form).TryGet(out var credentials, out error))
                return error;
            requestEvent.ClientId = credentials.ClientId;
            requestEvent.AuthMethod = credentials.Method;

            // 4. No more requests at once than can be answered. A slow body is not counted: it costs little, and could keep others out.
            isInFlight = concurrency.TryEnter();
            if (!isInFlight)
                return TooManyInFlight();

            // 5. RFC 6749 §3.2.1: the client is the one it names.
            var authentication = await authenticator.AuthenticateAsync(credentials, requestEvent.Source, http.RequestAborted);
            if (!authentication.TryGet(out var authenticated, out error))
                return error;
            requestEvent.Credential = authenticated.Credential;
            usage.CredentialUsed(authenticated.Credential, requestEvent.Source);

            // 6. What this endpoint is for.
            var clientRequest = new ClientRequest(authenticated.Client, form, request.Headers.Accept, requestEvent);
            return await handler(clientRequest, http.RequestAborted);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            return OAuthError.InvalidRequest(Reason.CallerGone, "The caller went away.");
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            Log.DatabaseUnavailable(logger, http.TraceIdentifier, e.Message);
            return OAuthError.TemporarilyUnavailable(Reason.DatabaseUnavailable, RetryAfterDatabaseUnavailable);
        }
        catch (Exception e)
        {
            Log.Failed(logger, e, http.TraceIdentifier);
            return OAuthError.ServerError();
        }
        finally
        {
            if (isInFlight)
                concurrency.Leave();
        }
    }

    private OAuthError? RefusalOfAddress(HttpRequest request)
    {
        if (request.Method != HttpMethods.Post)
        {
            return OAuthError.InvalidRequest(
                Reason.MethodNotPost, "This endpoint answers only POST.", StatusCodes.Status405MethodNotAllowed);
        }

        if (issuer.RequiresTls && !request.IsHttps)
        {
            return OAuthError.InvalidRequest(Reason.NotOverTls, "This endpoint answers only over TLS.") with
            {
                Detail = "plain http; where a proxy ends TLS, list its address under Proxies and have it send X-Forwarded-Proto",
            };
        }

        return request.QueryString.HasValue && CredentialParameters.Any(request.Query.ContainsKey)
            ? OAuthError.InvalidRequest(Reason.CredentialsInQuery, "Credentials must not be in the query. Treat them as leaked.")
            : null;
    }

    // As many requests as may be in flight wait for room in the event log, no more. One more is refused: it gets no token, so nothing
    // leaves without its event.
    private async ValueTask<bool> WaitForEventAsync(HttpContext http, RequestEvent requestEvent)
    {
        if (!concurrency.TryEnter())
        {
            events.Drop(1);
            await OAuthResponse.RefuseAsync(http, TooManyInFlight());
            return false;
        }

        try
        {
            await events.AddAsync(requestEvent, http.RequestAborted);
            return true;
        }
        catch (OperationCanceledException)
        {
            events.Drop(1);
            return false;
        }
        finally
        {
            concurrency.Leave();
        }
    }

    private static OAuthError TooManyInFlight() =>
        OAuthError.TemporarilyUnavailable(Reason.TooManyRequestsInFlight, RetryAfterTooMany);

    private static partial class Log
    {
        // Each request has its event, and DatabaseCache says once that the database is unavailable.
        [LoggerMessage(1, LogLevel.Debug, "Request {RequestId} got 503 because the database is unavailable: {Cause}")]
        public static partial void DatabaseUnavailable(ILogger logger, string requestId, string cause);

        [LoggerMessage(2, LogLevel.Error, "Request {RequestId} got 500 because of a bug in the server; report it with this exception")]
        public static partial void Failed(ILogger logger, Exception e, string requestId);
    }
}
