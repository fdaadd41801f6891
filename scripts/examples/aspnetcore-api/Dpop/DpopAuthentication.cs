using System.Text.Json;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;

namespace Examples;

/// <summary>The settings of the section <c>Dpop</c>. All of them have a default.</summary>
public sealed class DpopOptions
{
    /// <summary>Refuses every token that is not bound to a key.</summary>
    public bool Require { get; set; }

    /// <summary>The accepted values of alg in a proof, with spaces between them.</summary>
    public string Algorithms { get; set; } = string.Join(' ', DpopKey.Algorithms);

    /// <summary>
    /// The address that callers use, such as <c>https://api.example.com</c>; several have spaces between them. A path
    /// is one that a proxy takes off before it forwards the request. Without this setting a proof may be for any host
    /// that the request names. That is weaker: a server that callers trust less than this API could forward their
    /// proofs, made for its own address, with its own name as Host. Behind a proxy it may be wrong, too, since the
    /// proxy talks to the API under another name or by http.
    /// </summary>
    public string PublicAddress { get; set; } = "";

    /// <summary>
    /// Base64 of at least 32 random bytes, the same for all replicas. With it, each proof must have a nonce from this
    /// API (RFC 9449 §9), so that nobody can make proofs ahead of time.
    /// </summary>
    public string? NonceKey { get; set; }

    /// <summary>
    /// The number of proofs that are remembered so that they are not used again. Each takes about 50 bytes.
    /// </summary>
    public int MaxRememberedProofs { get; set; } = 1_000_000;

    internal string[] AlgorithmNames => Algorithms.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    internal string[] PublicAddresses => PublicAddress.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    internal bool HasGoodAddresses =>
        PublicAddresses.All(address => DpopTarget.Parse(address) is not null && address.IndexOfAny(['?', '#']) < 0);

    internal bool HasGoodNonceKey =>
        NonceKey is null || (Convert.TryFromBase64String(NonceKey, new byte[NonceKey.Length], out var length) && length >= 32);
}

/// <summary>
/// Adds DPoP (RFC 9449 §7) to JwtBearer, which has none: dotnet/aspnetcore#58016. JwtBearer goes on validating the
/// token. This class reads it from <c>Authorization: DPoP</c> too, checks the proof of a token that is bound to a key,
/// and writes the challenges.
/// </summary>
public sealed class DpopAuthentication(IOptions<DpopOptions> options, DpopNonces nonces, ProofMemory memory, TimeProvider clock)
{
    private const string Scheme = "DPoP";

    private readonly string[] algorithms = options.Value.AlgorithmNames;
    private readonly string[] publicAddresses = [.. options.Value.PublicAddresses.Select(address => address.TrimEnd('/'))];

    public static void Accept(IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton<DpopAuthentication>().AddSingleton<DpopNonces>().AddSingleton<ProofMemory>();
        services.AddOptions<DpopOptions>().BindConfiguration("Dpop")
            .Validate(
                dpop => dpop.AlgorithmNames is { Length: > 0 } names && names.All(DpopKey.Algorithms.Contains),
                "Dpop:Algorithms must list one or more of ES256, ES384 and PS256, with spaces between them.")
            .Validate(
                dpop => dpop.HasGoodAddresses,
                "Dpop:PublicAddress must list http or https URLs without a query, with spaces between them.")
            .Validate(dpop => dpop.HasGoodNonceKey, "Dpop:NonceKey must be Base64 of at least 32 bytes.")
            .Validate(dpop => dpop.MaxRememberedProofs >= 1000, "Dpop:MaxRememberedProofs must be at least 1000.")
            .ValidateOnStart();
        services.AddOptions<JwtBearerOptions>(JwtBearerDefaults.AuthenticationScheme)
            .PostConfigure(bearer => bearer.Events = new DpopEvents(bearer.Events ?? new JwtBearerEvents()))
            // Otherwise nothing would check a proof, and nobody would notice.
            .Validate(
                bearer => bearer.Events is DpopEvents && bearer.EventsType is null,
                "DPoP needs JwtBearerOptions.Events. Set them before it does, or only their delegates, and no EventsType.");
    }

    /// <summary>
    /// The authentication scheme of a request, for a challenge that names it: <c>DPoP</c> or <c>Bearer</c>.
    /// </summary>
    public static string SchemeOf(HttpRequest request) => UsesDpop(request) ? Scheme : JwtBearerDefaults.AuthenticationScheme;

    // RFC 9110 §11.1: the scheme is compared without case. JwtBearer itself reads the token of a Bearer header.
    private static bool UsesDpop(HttpRequest request) =>
        request.Headers.Authorization.ToString().Split(' ')[0].Equals(Scheme, StringComparison.OrdinalIgnoreCase);

    internal static void ReadToken(MessageReceivedContext context)
    {
        // RFC 6750 §2: a caller sends its token once. §5.3 and RFC 9700 §4.3.2: a token in an address ends up in logs.
        if (context.Request.Headers.Authorization.Count > 1 || context.Request.Query.ContainsKey("access_token"))
            context.Fail(DpopException.InvalidRequest("The token belongs into one Authorization header, and nowhere else."));
        else if (UsesDpop(context.Request))
        {
            context.Token = context.Request.Headers.Authorization.ToString()[Scheme.Length..].Trim();
            if (context.Token == "")
                context.Fail(DpopException.InvalidToken("The Authorization header has no token."));
        }
    }

    internal void Check(TokenValidatedContext context)
    {
        if (Refuse(context) is { } refusal)
            context.Fail(refusal);
    }

    private DpopException? Refuse(TokenValidatedContext context)
    {
        if (context.SecurityToken is not JsonWebToken token || !TryReadBinding(token, out var thumbprint))
            return DpopException.InvalidToken("The token is bound in a way that this API cannot check.");

        return (thumbprint, UsesDpop(context.Request)) switch
        {
            (null, false) when !options.Value.Require => null,
            (null, false) => DpopException.InvalidToken("This API accepts only tokens that are bound to a key."),
            (null, true) => DpopException.InvalidToken("The token is not bound to a key, so it is not for the scheme DPoP."),
            // RFC 9449 §7.2: a thief would send it so.
            (_, false) => DpopException.InvalidToken("The token is bound to a key, so it needs the scheme DPoP and a proof."),
            _ => RefuseProof(context.HttpContext, token.EncodedToken, thumbprint),
        };
    }

    // RFC 7800 §3.1. A kind of cnf that nobody checks would make a stolen token good, so only jkt, and it alone, is
    // taken.
    private static bool TryReadBinding(JsonWebToken token, out string? thumbprint)
    {
        thumbprint = null;
        if (!DpopProof.TryParse(token.EncodedPayload, out var claims))
            return false;
        if (!claims.TryGetProperty("cnf", out var confirmation))
            return true;
        thumbprint = confirmation.ValueKind == JsonValueKind.Object && confirmation.EnumerateObject().Count() == 1
            ? DpopProof.Text(confirmation, "jkt")
            : null;
        return thumbprint is not null;
    }

    // RFC 9449 §4.3. The memory comes last, so that only a proof that is right in all else is used up.
    private DpopException? RefuseProof(HttpContext context, string token, string thumbprint)
    {
        if (context.Request.Headers[Scheme] is not [{ } header])
            return DpopException.InvalidProof("The request must have one DPoP header.");
        if (DpopProof.Read(header, algorithms, out var proof) is { } formFlaw)
            return DpopException.InvalidProof(formFlaw);
        if (proof!.FlawFor(context.Request.Method, Targets(context), token) is { } requestFlaw)
            return DpopException.InvalidProof(requestFlaw);
        if (proof.Thumbprint != thumbprint)
            return DpopException.InvalidToken("The token is bound to another key than that of the DPoP proof.");
        if (nonces.AreRequired && !nonces.IsGood(proof.Nonce))
            return DpopException.UseNonce();
        if (proof.FlawAt(clock.GetUtcNow(), hasGoodNonce: nonces.AreRequired) is { } timeFlaw)
            return DpopException.InvalidProof(timeFlaw);
        if (!memory.IsFirst(thumbprint, proof.Id))
            return DpopException.InvalidProof("The DPoP proof was used before.");

        if (nonces.AreRequired)
            context.Response.OnStarting(() => SendNonceOnSuccess(context.Response));
        return null;
    }

    // The path is that of the request line, not decoded: the caller signed these characters.
    private IEnumerable<DpopTarget> Targets(HttpContext context)
    {
        var target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        // RFC 9112 §3.2.2: a client may send the whole address.
        var path = target.StartsWith('/') ? target.Split('?')[0] : DpopTarget.Parse(target)?.Path;
        if (path is null)
            return [];
        var addresses = publicAddresses is [] ? [$"{context.Request.Scheme}://{context.Request.Host}"] : publicAddresses;
        return addresses.Select(address => DpopTarget.Parse(address + path)).OfType<DpopTarget>();
    }

    // RFC 9449 §8.2: with it the caller's next request needs no challenge.
    private Task SendNonceOnSuccess(HttpResponse response)
    {
        if (response.StatusCode is >= 200 and < 300)
            response.Headers["DPoP-Nonce"] = nonces.Current();
        return Task.CompletedTask;
    }

    // RFC 9449 §7.1 and §7.2: a challenge for each scheme that is accepted. The error is in that of the request, which
    // comes first, because some callers read only one.
    internal void Challenge(JwtBearerChallengeContext context)
    {
        var refusal = context.AuthenticateFailure switch
        {
            null => null,
            DpopException known => known,
            _ => DpopException.InvalidToken(context.ErrorDescription),
        };
        context.HandleResponse();
        context.Response.StatusCode = refusal?.Status ?? StatusCodes.Status401Unauthorized;
        context.Response.Headers.CacheControl = "no-store";
        if (refusal is { Error: DpopException.UseNonceError })
            context.Response.Headers["DPoP-Nonce"] = nonces.Current();

        var isDpop = options.Value.Require || UsesDpop(context.Request);
        (string, string?)[] error = [("error", refusal?.Error), ("error_description", refusal?.Description)];
        (string, string?) metadata = ("resource_metadata", ProtectedResource.AddressOf(context.Options.Audience));
        var bearer = Text(JwtBearerDefaults.AuthenticationScheme, [.. isDpop ? [] : error, metadata]);
        var dpop = Text(Scheme, [.. isDpop ? error : [], ("algs", string.Join(' ', algorithms)), metadata]);
        string[] both = isDpop ? [dpop, bearer] : [bearer, dpop];
        context.Response.Headers.WWWAuthenticate = options.Value.Require ? dpop : both;
    }

    private static string Text(string scheme, params (string Name, string? Value)[] parameters)
    {
        var present = parameters.Where(one => !string.IsNullOrEmpty(one.Value)).Select(one => $"{one.Name}=\"{one.Value}\"");
        return $"{scheme} {string.Join(", ", present)}".TrimEnd();
    }
}

/// <summary>
/// The events of JwtBearer with DPoP before them. The methods are overridden, so that a delegate that is set later does
/// not replace the check.
/// </summary>
internal sealed class DpopEvents : JwtBearerEvents
{
    /// <param name="own">The events that the API has set; they follow.</param>
    public DpopEvents(JwtBearerEvents own)
    {
        OnMessageReceived = own.MessageReceived;
        OnTokenValidated = own.TokenValidated;
        OnAuthenticationFailed = own.AuthenticationFailed;
        OnForbidden = own.Forbidden;
        OnChallenge = own.Challenge;
    }

    public override async Task MessageReceived(MessageReceivedContext context)
    {
        DpopAuthentication.ReadToken(context);
        if (context.Result is null)
            await base.MessageReceived(context);
    }

    // DPoP comes first: one of the API's own events may decide that the request is authenticated.
    public override async Task TokenValidated(TokenValidatedContext context)
    {
        DpopOf(context.HttpContext).Check(context);
        if (context.Result is null)
            await base.TokenValidated(context);
    }

    public override async Task Challenge(JwtBearerChallengeContext context)
    {
        await base.Challenge(context);
        if (!context.Handled)
            DpopOf(context.HttpContext).Challenge(context);
    }

    private static DpopAuthentication DpopOf(HttpContext context) => context.RequestServices.GetRequiredService<DpopAuthentication>();
}

/// <summary>Why a request is not authenticated, as its challenge says it. It is returned and never thrown.</summary>
public sealed class DpopException : Exception
{
    internal const string UseNonceError = "use_dpop_nonce";

    private DpopException(string error, string? description, int status = StatusCodes.Status401Unauthorized)
        : base(description) => (Error, Description, Status) = (error, Clean(description), status);

    public string Error { get; }

    public string? Description { get; }

    public int Status { get; }

    internal static DpopException InvalidRequest(string description) =>
        new("invalid_request", description, StatusCodes.Status400BadRequest);

    internal static DpopException InvalidToken(string? description) => new("invalid_token", description);

    internal static DpopException InvalidProof(string description) => new("invalid_dpop_proof", description);

    internal static DpopException UseNonce() => new(UseNonceError, "The DPoP proof needs the nonce in DPoP-Nonce.");

    // RFC 6750 §3: these characters are allowed. JwtBearer's own descriptions can repeat text of the token.
    private static string? Clean(string? description) => description is null
        ? null
        : string.Concat(description.Select(c => c is >= ' ' and <= '~' and not ('"' or '\\') ? c : '?'));
}
