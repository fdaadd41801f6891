using TokenService.Audit;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Usage;

namespace TokenService.Endpoints;

/// <summary>A request that has come through the one way in.</summary>
/// <param name="Client">Who asks, proved.</param>
/// <param name="Form">What it sent.</param>
/// <param name="Happened">What is to be said of it in the event log.</param>
internal sealed record ClientRequest(Client Client, Form Form, RequestEvent Happened);

/// <summary>What an endpoint does for a client that has proved who it is.</summary>
internal delegate ValueTask<Result<IAnswer>> Decision(ClientRequest request, CancellationToken ct);

/// <summary>
/// The one way in for an authenticated client with a form: every step that the token, introspection and revocation endpoints
/// share is here, so that none can be forgotten. What is refused, is refused before anything after it is read or done.
/// </summary>
internal sealed partial class ClientRequestPipeline(
    FormReader reader,
    ClientAuthenticator authenticator,
    ConcurrencyLimit inFlight,
    RefusalThrottle pace,
    UsageCounters uses,
    EventLog events,
    Issuer issuer,
    TimeProvider clock,
    ILogger<ClientRequestPipeline> logger)
{
    // None of these may stand in an address, where logs and caches would keep it (RFC 6749 §2.3.1).
    private static readonly string[] CredentialParameters = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

    private static readonly TimeSpan RetryAfterDatabaseAway = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan RetryAfterTooMany = TimeSpan.FromSeconds(1);

    /// <param name="http">The request and its response.</param>
    /// <param name="endpoint">The endpoint's path.</param>
    /// <param name="decide">What this endpoint does for a client that has proved who it is.</param>
    public async Task AnswerAsync(HttpContext http, string endpoint, Decision decide)
    {
        var began = clock.GetTimestamp();
        var happened = new RequestEvent
        {
            Time = clock.GetUtcNow(),
            RequestId = http.TraceIdentifier,
            Endpoint = endpoint,
            Source = http.Connection.RemoteIpAddress,
        };

        var result = await DecideAsync(http, happened, decide);
        var isRefused = result.Refused(out var error, out var answer);
        happened.Status = error?.Status ?? StatusCodes.Status200OK;
        happened.Error = error?.Code;
        happened.Reason = error?.Reason ?? error?.Description ?? happened.Reason;
        happened.Duration = clock.GetElapsedTime(began);
        // First the event, so that no token leaves without it, then the answer.
        if (!events.TryAdd(happened) && !await WaitForRoomAsync(http, happened))
            return;
        // It is in flight no more, so that however many wait here, they keep out nobody.
        if (error?.Status < StatusCodes.Status500InternalServerError && happened.SecretId is null)
            await pace.WaitAsync(http.RequestAborted);
        if (http.RequestAborted.IsCancellationRequested)
            return;
        if (isRefused)
            await OAuthResponse.RefuseAsync(http, error!);
        else
            await OAuthResponse.GrantAsync(http, answer!);
    }

    // As many as may be in flight wait for the event log, no more. Who is refused gets no token, so nothing leaves without its event.
    private async ValueTask<bool> WaitForRoomAsync(HttpContext http, RequestEvent happened)
    {
        if (!inFlight.TryEnter())
        {
            events.Drop(1);
            await OAuthResponse.RefuseAsync(http, TooManyInFlight());
            return false;
        }

        try
        {
            await events.AddAsync(happened, http.RequestAborted);
            return true;
        }
        catch (OperationCanceledException)
        {
            events.Drop(1);
            return false;
        }
        finally
        {
            inFlight.Leave();
        }
    }

    private async ValueTask<Result<IAnswer>> DecideAsync(HttpContext http, RequestEvent happened, Decision decide)
    {
        try
        {
            return await StepAsync(http, happened, decide);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            return OAuthError.InvalidRequest("The caller went away.");
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            Log.DatabaseUnavailable(logger, http.TraceIdentifier, e.Message);
            return OAuthError.TemporarilyUnavailable("the database is away", RetryAfterDatabaseAway);
        }
        catch (Exception e)
        {
            Log.Failed(logger, e, http.TraceIdentifier);
            return OAuthError.ServerError();
        }
    }

    private async ValueTask<Result<IAnswer>> StepAsync(HttpContext http, RequestEvent happened, Decision decide)
    {
        var request = http.Request;

        // 1. RFC 6749 §3.2: POST only, and RFC 9110 §9.1: spelled so.
        if (request.Method != HttpMethods.Post)
            return OAuthError.InvalidRequest("This endpoint answers only POST.", StatusCodes.Status405MethodNotAllowed);

        // 2. RFC 6749 §1.6: TLS only, unless the issuer itself is a plain http address of a developer's machine.
        if (issuer.RequiresTls && !request.IsHttps)
            return OAuthError.InvalidRequest("This endpoint answers only over TLS.") with
            {
                Reason = "plain http; where a proxy ends TLS, list its address under Proxies and have it send X-Forwarded-Proto",
            };

        // 3. RFC 6749 §2.3.1: no credentials in the address.
        if (request.QueryString.HasValue && CredentialParameters.Any(request.Query.ContainsKey))
            return OAuthError.InvalidRequest("Credentials must not be in the query. Treat them as leaked.");

        // 4. RFC 6749 §3.2 and appendix B: a form, read once.
        if ((await reader.ReadAsync(request)).Refused(out var error, out var form))
            return error;

        // 5. No more at once than can be answered. Slow bodies do not count: they cost little, and could keep everybody else out.
        if (!inFlight.TryEnter())
            return TooManyInFlight();
        try
        {
            return await AuthenticatedStepAsync(http, form, happened, decide);
        }
        finally
        {
            inFlight.Leave();
        }
    }

    private async ValueTask<Result<IAnswer>> AuthenticatedStepAsync(HttpContext http, Form form, RequestEvent happened, Decision decide)
    {
        // 6. RFC 6749 §2.3: one way of authenticating.
        if (ClientCredentials.Read(http.Request.Headers.Authorization, form).Refused(out var error, out var presented))
            return error;

        happened.ClientId = presented.ClientId;
        happened.Method = presented.Method;

        // 7. RFC 6749 §3.2.1: the client is who it says.
        if ((await authenticator.AuthenticateAsync(presented, happened.Source, http.RequestAborted)).Refused(out error, out var authenticated))
            return error;
        happened.SecretId = authenticated.Secret.Id;
        uses.SecretUsed(authenticated.Secret.Id, happened.Source);

        // 8. What this endpoint is for.
        return await decide(new ClientRequest(authenticated.Client, form, happened), http.RequestAborted);
    }

    private static OAuthError TooManyInFlight() => OAuthError.TemporarilyUnavailable("too many requests are in flight", RetryAfterTooMany);

    private static partial class Log
    {
        // For each request there is an event; that the database is away, DatabaseCache says once.
        [LoggerMessage(1, LogLevel.Debug, "{RequestId} met a database that is away: {Cause}")]
        public static partial void DatabaseUnavailable(ILogger logger, string requestId, string cause);

        [LoggerMessage(2, LogLevel.Error, "{RequestId} failed")]
        public static partial void Failed(ILogger logger, Exception e, string requestId);
    }
}
