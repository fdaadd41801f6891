using System.Text.Json.Serialization.Metadata;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Postgres;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>
/// The one way in for an authenticated client with a form: every step that the token, introspection and revocation endpoints
/// share is here, so that none can be forgotten. What is refused, is refused before anything after it is read or done.
/// </summary>
internal sealed partial class FormEndpoint(
    FormReader reader, ClientAuthenticator authenticator, UseTally uses, Issuer issuer, ILogger<FormEndpoint> logger)
{
    // None of these may stand in an address, where logs and caches would keep it (RFC 6749 §2.3.1).
    private static readonly string[] CredentialParameters = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

    private static readonly TimeSpan RetryAfterDatabaseAway = TimeSpan.FromSeconds(5);

    /// <param name="http">The request and its response.</param>
    /// <param name="type">How the answer is written.</param>
    /// <param name="decide">What this endpoint does for a client that has proved who it is.</param>
    public async Task AnswerAsync<T>(HttpContext http, JsonTypeInfo<T> type, Func<HttpContext, Client, Form, ValueTask<Result<T>>> decide)
    {
        var result = await AnswerAsync(http, decide);
        if (http.RequestAborted.IsCancellationRequested)
            return;

        if (!result.Refused(out var error, out var answer))
        {
            await OAuthResponse.GrantAsync(http, answer, type);
            return;
        }

        Log.Refused(logger, http.TraceIdentifier, error.Status, error.Code, error.Reason ?? error.Description);
        await OAuthResponse.RefuseAsync(http, error);
    }

    private async Task<Result<T>> AnswerAsync<T>(HttpContext http, Func<HttpContext, Client, Form, ValueTask<Result<T>>> decide)
    {
        try
        {
            return await StepAsync(http, decide);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            return OAuthError.InvalidRequest("The caller went away.");
        }
        catch (Exception e) when (DatabaseAway.IsTheCauseOf(e))
        {
            Log.DatabaseAway(logger, e, http.TraceIdentifier);
            return OAuthError.TemporarilyUnavailable("the database is away", RetryAfterDatabaseAway);
        }
        catch (Exception e)
        {
            Log.Failed(logger, e, http.TraceIdentifier);
            return OAuthError.ServerError();
        }
    }

    private async Task<Result<T>> StepAsync<T>(HttpContext http, Func<HttpContext, Client, Form, ValueTask<Result<T>>> decide)
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
        if (CredentialParameters.Any(request.Query.ContainsKey))
            return OAuthError.InvalidRequest("Credentials must not be in the query. Treat them as leaked.");

        // 4. RFC 6749 §3.2 and appendix B: a form, read once.
        if ((await reader.ReadAsync(request, http.RequestAborted)).Refused(out var error, out var form))
            return error;

        // 5. RFC 6749 §2.3: one way of authenticating.
        if (PresentedCredentials.Read(request.Headers.Authorization, form).Refused(out error, out var presented))
            return error;

        // 6. RFC 6749 §3.2.1: the client is who it says.
        if ((await authenticator.AuthenticateAsync(presented, http.RequestAborted)).Refused(out error, out var authenticated))
            return error with { Reason = $"{presented}: {error.Reason}" };
        uses.SecretUsed(authenticated.Secret.Id, http.Connection.RemoteIpAddress);

        // 7. What this endpoint is for.
        return await decide(http, authenticated.Client, form);
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Information, "{RequestId} refused: {Status} {Code}, {Reason}")]
        public static partial void Refused(ILogger logger, string requestId, int status, string code, string reason);

        [LoggerMessage(2, LogLevel.Warning, "{RequestId} met a database that is away")]
        public static partial void DatabaseAway(ILogger logger, Exception e, string requestId);

        [LoggerMessage(3, LogLevel.Error, "{RequestId} failed")]
        public static partial void Failed(ILogger logger, Exception e, string requestId);
    }
}
