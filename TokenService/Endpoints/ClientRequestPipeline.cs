using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Primitives;
using TokenService.Audit;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Usage;

namespace TokenService.Endpoints;

/// <summary>A request of an authenticated client, as the pipeline passes it to an endpoint.</summary>
/// <param name="Caller">The authenticated client, whose credential the endpoint uses up before it grants anything.</param>
/// <param name="Form">The request body.</param>
/// <param name="Headers">The header, of which an endpoint may need Accept or DPoP.</param>
/// <param name="Event">The request's event, to which the endpoint adds the token it issued or checked.</param>
internal sealed record ClientRequest(AuthenticatedClient Caller, Form Form, IHeaderDictionary Headers, RequestEvent Event)
{
    public Client Client => Caller.Client;
}

/// <summary>The endpoint's own steps, which run for an authenticated client.</summary>
internal delegate ValueTask<Result<IAnswer>> ClientRequestHandler(ClientRequest request, CancellationToken ct);

/// <summary>
/// The steps of every request that authenticates a client. The token, introspection and revocation endpoints share
/// them, so that no endpoint can forget one. When a step refuses the request, no later step runs.
/// </summary>
internal sealed partial class ClientRequestPipeline(
    FormReader reader,
    ClientAuthenticator authenticator,
    ConcurrencyLimit concurrency,
    RefusalThrottle throttle,
    OAuthResponse responses,
    UsageCounters usage,
    EventLog events,
    Issuer issuer,
    IOptions<ProxyOptions> proxies,
    TimeProvider clock,
    ILogger<ClientRequestPipeline> logger)
{
    // The query must not have these parameters, because logs and caches keep whole addresses (RFC 6749 §2.3.1).
    private static readonly string[] CredentialParameters =
        ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

    private static readonly TimeSpan RetryAfterDatabaseUnavailable = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan RetryAfterEventsNotWritten = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan RetryAfterTooMany = TimeSpan.FromSeconds(1);

    private readonly bool requiresTls = issuer.RequiresTls && proxies.Value.TlsTerminatedUpstream is not true;

    /// <param name="http">The request and its response.</param>
    /// <param name="path">The endpoint's path, without the issuer's, for the event log.</param>
    /// <param name="handler">The endpoint's own steps.</param>
    public async Task AnswerAsync(HttpContext http, string path, ClientRequestHandler handler)
    {
        var began = clock.GetTimestamp();
        var requestEvent = new RequestEvent
        {
            Time = clock.GetUtcNow(),
            RequestId = http.TraceIdentifier,
            Endpoint = path,
            Source = Normal(http.Connection.RemoteIpAddress),
        };

        // Steps 1 to 6.
        var result = await HandleAsync(http, requestEvent, handler);

        // 7. The event is queued before the response is sent, so that no token is sent without its event. A write of
        // events may have failed since step 4, and then nothing is granted.
        var isGranted = result.TryGet(out var answer, out var error) && !events.IsFailing;
        if (!isGranted)
            error ??= EventsNotWritten();
        requestEvent.SetOutcome(error, clock.GetElapsedTime(began));
        if (!events.TryAdd(requestEvent) && !await WaitForEventAsync(http, requestEvent))
            return;

        // A refusal of a caller that was not authenticated waits for its turn. The request is no longer in flight, so
        // requests that wait here do not use up the limit of step 4.
        if (!isGranted && requestEvent.Credential is null)
            await throttle.WaitAsync(http.RequestAborted);
        if (http.RequestAborted.IsCancellationRequested)
            return;
        if (isGranted)
            await OAuthResponse.GrantAsync(http, answer!);
        else
            await responses.RefuseAsync(http, error!);
    }

    private async ValueTask<Result<IAnswer>> HandleAsync(HttpContext http, RequestEvent requestEvent, ClientRequestHandler handler)
    {
        var (request, connection) = (http.Request, http.OpenConnection());
        var (isInFlight, isWorking) = (false, false);
        try
        {
            // 1. RFC 6749 §3.2: POST only, in capital letters (RFC 9110 §9.1). RFC 6749 §1.6: TLS only, unless the
            // issuer is a plain http address for development. RFC 6749 §2.3.1: no credentials in the query.
            if (RefusalOfAddress(request) is { } refusal)
                return await AttributedAsync(refusal, request, requestEvent);

            // 2. RFC 6749 §3.2 and appendix B: the form, read once.
            if (!(await reader.ReadAsync(request)).TryGet(out var form, out var error))
                return await AttributedAsync(error, request, requestEvent);

            // 3. RFC 6749 §2.3: the one way the caller authenticates.
            if (!ClientCredentials.Read(request.Headers.Authorization, form).TryGet(out var credentials, out error))
                return await AttributedAsync(error with { ClientId = form["client_id"] }, request, requestEvent);
            requestEvent.ClientId = authenticator.IdToLog(credentials);
            requestEvent.Detail = requestEvent.ClientId is null ? SwappedCredentials.Detail : null;
            requestEvent.AuthMethod = credentials.Method;

            // 4. Nothing is granted while events cannot be written, so no work is done for it either. Then the limit of
            // requests in flight. It comes after the body has been read, so that slow bodies do not use it up.
            if (events.IsFailing)
                return EventsNotWritten();
            isInFlight = concurrency.TryEnter();
            if (!isInFlight)
                return TooManyInFlight();
            // From here on the connection works, so it is not closed to make room for another.
            isWorking = connection is not null && connection.TryBeginWork();
            if (connection is not null && !isWorking)
                return CallerGone();

            // 5. RFC 6749 §3.2.1: the client is the one it names.
            var authentication = await authenticator.AuthenticateAsync(credentials, requestEvent.Source, http.RequestAborted);
            if (authentication.IsKnownClient)
                (requestEvent.ClientId, requestEvent.Detail) = (credentials.ClientId, null);
            if (!authentication.Result.TryGet(out var authenticated, out error))
                return error;
            requestEvent.Credential = authenticated.Credential.Id;
            requestEvent.Detail = authenticated.Remark;
            if (authenticated.IsUsedUp)
                SetProved(authenticated, requestEvent, connection);

            // 6. The endpoint's own steps.
            var clientRequest = new ClientRequest(authenticated, form, request.Headers, requestEvent);
            return await HandleAsync(handler, clientRequest, connection, http.RequestAborted);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            return CallerGone();
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            Log.DatabaseUnavailable(logger, http.TraceIdentifier, e.Message);
            var reason = e is DatabaseSlowException ? Reason.DatabaseSlow : Reason.DatabaseUnavailable;
            return OAuthError.TemporarilyUnavailable(reason, RetryAfterDatabaseUnavailable);
        }
        catch (Exception e)
        {
            Log.Failed(logger, e, http.TraceIdentifier);
            return OAuthError.ServerError();
        }
        finally
        {
            if (isWorking)
                connection!.EndWork();
            if (isInFlight)
                concurrency.Leave();
        }
    }

    private async ValueTask<Result<IAnswer>> HandleAsync(
        ClientRequestHandler handler, ClientRequest request, OpenConnection? connection, CancellationToken ct)
    {
        var wasUsedUp = request.Caller.IsUsedUp;
        var result = await handler(request, ct);
        if (!request.Caller.IsUsedUp && result.TryGet(out _, out _))
            throw new InvalidOperationException("The endpoint has granted something before it used up the caller's credential.");
        // An assertion that was captured and sent again is no use of the key, and makes no connection worth keeping.
        if (!wasUsedUp && request.Caller.IsUsedUp)
            SetProved(request.Caller, request.Event, connection);
        return result;
    }

    private void SetProved(AuthenticatedClient caller, RequestEvent requestEvent, OpenConnection? connection)
    {
        usage.CredentialUsed(caller.Credential.Id, requestEvent.Source);
        connection?.SetKnown();
    }

    // A request that is refused before its credentials are read is logged with the client that its header names, or else its
    // body, if there is such a client. An id that no client has may be anything, even a secret.
    private async ValueTask<OAuthError> AttributedAsync(OAuthError error, HttpRequest request, RequestEvent requestEvent)
    {
        var named = request.Headers.Authorization.Select(BasicCredentials.ReadClientId).FirstOrDefault(id => id is not null)
            ?? error.ClientId;
        // The question may have to wait for the database, so it counts as in flight.
        if (named is null || !concurrency.TryEnter())
            return error;
        try
        {
            requestEvent.ClientId = await authenticator.IsClientAsync(named, request.HttpContext.RequestAborted) ? named : null;
            return error;
        }
        finally
        {
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

        if (requiresTls && !request.IsHttps)
        {
            return OAuthError.InvalidRequest(Reason.NotOverTls, "This endpoint answers only over TLS.") with
            {
                Detail = "plain http; where a proxy ends TLS, list its address under Proxies and have it send X-Forwarded-Proto; "
                    + "where a side-car or a TCP balancer ends it, set TlsTerminatedUpstream",
            };
        }

        if (request.QueryString.HasValue && CredentialParameters.Any(request.Query.ContainsKey))
        {
            return OAuthError.InvalidRequest(
                Reason.CredentialsInQuery,
                "Credentials must not be in the query. Send them in the header or the body, and treat these as leaked.");
        }

        return null;
    }

    // Waits for room in the event queue. The limit of requests in flight bounds the requests that wait here, too. One
    // more gets 503 instead of its token, so that no token is sent without its event. So do all that wait when a write
    // of events fails.
    private async ValueTask<bool> WaitForEventAsync(HttpContext http, RequestEvent requestEvent)
    {
        if (!concurrency.TryEnter())
        {
            events.Drop(1);
            await responses.RefuseAsync(http, TooManyInFlight());
            return false;
        }

        try
        {
            if (await events.AddAsync(requestEvent, http.RequestAborted))
                return true;
            events.Drop(1);
            await responses.RefuseAsync(http, EventsNotWritten());
            return false;
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

    // One form for each address, in limits, events and the database. A socket for both protocols gives IPv4 addresses as
    // IPv6; a link-local address has a zone, which PostgreSQL's inet does not know.
    private static IPAddress? Normal(IPAddress? address) => address switch
    {
        { IsIPv4MappedToIPv6: true } => address.MapToIPv4(),
        { AddressFamily: AddressFamily.InterNetworkV6, ScopeId: > 0 } => new IPAddress(address.GetAddressBytes()),
        _ => address,
    };

    private static OAuthError CallerGone() => OAuthError.InvalidRequest(Reason.CallerGone, "The caller disconnected.");

    private static OAuthError EventsNotWritten() =>
        OAuthError.TemporarilyUnavailable(Reason.EventsNotWritten, RetryAfterEventsNotWritten);

    private static OAuthError TooManyInFlight() =>
        OAuthError.TemporarilyUnavailable(Reason.TooManyRequestsInFlight, RetryAfterTooMany);

    private static partial class Log
    {
        // At level Debug, because each request has its event, and DatabaseCache logs once that the database is
        // unavailable.
        [LoggerMessage(1, LogLevel.Debug, "Request {RequestId} got 503 because the database is unavailable: {Cause}")]
        public static partial void DatabaseUnavailable(ILogger logger, string requestId, string cause);

        [LoggerMessage(2, LogLevel.Error,
            "Request {RequestId} got 500 because of a bug in the server; report it with this exception")]
        public static partial void Failed(ILogger logger, Exception e, string requestId);
    }
}
