using System.Text.Json;
using Npgsql;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Postgres;
using TokenService.Protocol;

namespace TokenService.Revocation;

/// <summary>
/// The signed list of revoked tokens, for APIs that verify tokens offline. It is a JWT with <c>iss</c>, <c>aud</c> (the
/// list's own address), <c>iat</c>, <c>exp</c>, <c>revoked</c> (the jti of each revoked token) and <c>not_before</c>
/// (for each client whose tokens were all revoked, the NumericDate up to which they are; <c>*</c> stands for every
/// client). It leaves out tokens that expired more than 10 minutes ago, and is never longer than
/// <see cref="Revocations.MaxLength"/> allows.
/// </summary>
internal sealed partial class RevokedTokensList(
    RevocationStore store,
    SigningKeys keys,
    Issuer issuer,
    ChangeNotifications notifications,
    TimeProvider clock,
    ILogger<RevokedTokensList> logger) : IDisposable
{
    /// <summary>
    /// The value of <c>typ</c>, so that no verifier takes the list for an access token (RFC 8725 §3.11).
    /// </summary>
    public const string Type = "revoked-tokens+jwt";

    /// <summary>Its path under the issuer.</summary>
    public const string Path = "/revoked-tokens";

    /// <summary>How long a reader may use the list before it asks again.</summary>
    public static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(30);

    /// <summary>exp minus iat. A reader that cannot get a newer list must not trust this one for longer.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    // The database is queried at most this often, however many readers there are.
    private static readonly TimeSpan QueryInterval = TimeSpan.FromSeconds(5);

    // An unchanged list is signed again after this time, so that a reader gets a list that is valid for about 4 minutes
    // more.
    private static readonly TimeSpan SignInterval = TimeSpan.FromMinutes(1);

    // An expired token stays in the list for this time, because a verifier may accept it a little longer: ASP.NET
    // Core's default clock skew is 5 minutes.
    private static readonly TimeSpan Leeway = TimeSpan.FromMinutes(10);

    private readonly JwsWriter writer = new(Type);
    private readonly SemaphoreSlim querying = new(1);
    private readonly DatabaseGate gate = new(notifications, clock);

    private volatile SignedList? last;

    // The end of the last query, successful or not. Only the holder of the semaphore writes it.
    private long lastQueryEndedAt;

    /// <summary>
    /// The address of the list, which is also its <c>aud</c>. No other kind of JWT has this <c>aud</c>, so none is
    /// accepted in its place (RFC 8725 §3.12).
    /// </summary>
    public static string AddressAt(Issuer issuer) => issuer.Endpoint(Path);

    /// <summary>
    /// The list, in ASCII; the same object until it changes. Refused with 503 while there is no key to sign with.
    /// </summary>
    /// <exception cref="NpgsqlException">
    /// The database is unavailable, and the last list is too old to serve.
    /// </exception>
    /// <exception cref="TimeoutException">
    /// The database does not answer in time, and the last list is too old to serve.
    /// </exception>
    public async ValueTask<Result<byte[]>> GetAsync(CancellationToken ct)
    {
        if (last is { } fresh && clock.GetElapsedTime(fresh.QueriedAt) < QueryInterval)
            return fresh.Jwt;

        if (!querying.Wait(0, ct))
        {
            if (last is { } previous && IsServedDuringQuery(previous))
                return previous.Jwt;
            await querying.WaitAsync(ct);
        }

        try
        {
            if (last is { } updated && clock.GetElapsedTime(updated.QueriedAt) < QueryInterval)
                return updated.Jwt;
            if (!(await QueryAsync()).TryGet(out var list, out var error))
                return error;
            last = list;
            return list.Jwt;
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e) && last is { } old && IsServable(old))
        {
            return old.Jwt;
        }
        finally
        {
            querying.Release();
        }
    }

    public void Dispose() => querying.Dispose();

    // While one request queries the database, others get the previous list, if the query before was recent. If nobody
    // asked for the list for minutes, they wait instead, because the previous list is too old although the database is
    // available.
    private bool IsServedDuringQuery(SignedList list) =>
        IsServable(list)
        && clock.GetElapsedTime(Volatile.Read(ref lastQueryEndedAt)) < QueryInterval + DatabaseGate.QueryTimeout;

    // A reader may keep the list for MaxAge, and it must not expire in that time.
    private bool IsServable(SignedList list) => AgeOf(list) + MaxAge < Lifetime;

    // The caller's cancellation token is not used, because other readers need the answer too.
    private async Task<Result<SignedList>> QueryAsync()
    {
        if (!gate.TryEnter())
            throw new TimeoutException("The database did not answer a moment ago.");

        try
        {
            return await gate.AskAsync(MakeAsync);
        }
        finally
        {
            Volatile.Write(ref lastQueryEndedAt, clock.GetTimestamp());
        }
    }

    // After a timeout this may still run while a newer query starts. It must not set the field "last" itself, or it
    // could replace a newer list.
    private async Task<Result<SignedList>> MakeAsync(CancellationToken ct)
    {
        var queriedAt = clock.GetTimestamp();
        var now = DateTimeOffset.FromUnixTimeSeconds(clock.GetUtcNow().ToUnixTimeSeconds());
        if (!(await keys.SignerAsync(algorithm: null, Lifetime, ct)).TryGet(out var signer, out var error))
            return error;
        // No token that a verifier accepts lived longer than the longest of the published keys.
        var maxLifetime = keys.Ring.PublishedAt(now).Max(key => key.MaxTokenLifetime);
        var content = Fit(await store.LoadAsync(now - Leeway, maxLifetime, ct), now.UtcDateTime);

        // If the signing key is another, the list is signed again, because the old key may have been withdrawn.
        var kid = signer.PublicKey.Kid;
        if (last is { } previous && previous.Kid == kid && previous.HasContent(content) && AgeOf(previous) < SignInterval)
            return previous with { QueriedAt = queriedAt };

        var jwt = writer.Write(signer, new Claims(issuer, now, content), Write);
        return new SignedList(jwt, kid, now, content, queriedAt);
    }

    private Revocations Fit(Revocations all, DateTime now)
    {
        var fitted = all.Fitted(now);
        if (!ReferenceEquals(fitted, all))
            Log.TooLong(logger, all.NotBefore.Count, fitted.NotBefore[0].NotBefore);
        return fitted;
    }

    private TimeSpan AgeOf(SignedList list) => clock.GetUtcNow() - list.IssuedAt;

    private static void Write(Claims claims, Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("iss"u8, claims.Issuer.Value);
        json.WriteString("aud"u8, AddressAt(claims.Issuer));
        json.WriteNumber("iat"u8, claims.IssuedAt.ToUnixTimeSeconds());
        json.WriteNumber("exp"u8, (claims.IssuedAt + Lifetime).ToUnixTimeSeconds());
        json.WriteStartObject("not_before"u8);
        foreach (var client in claims.Content.NotBefore)
            json.WriteNumber(client.ClientId, new DateTimeOffset(client.NotBefore).ToUnixTimeSeconds());
        json.WriteEndObject();
        json.WriteStartArray("revoked"u8);
        foreach (var id in claims.Content.TokenIds)
            json.WriteStringValue(id);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private readonly record struct Claims(Issuer Issuer, DateTimeOffset IssuedAt, Revocations Content);

    /// <param name="Jwt">The list, in ASCII.</param>
    /// <param name="Kid">The key that signed it.</param>
    /// <param name="IssuedAt">Its iat.</param>
    /// <param name="Content">The revocations in it.</param>
    /// <param name="QueriedAt">The clock's timestamp before the last query that returned this content.</param>
    private sealed record SignedList(byte[] Jwt, string Kid, DateTimeOffset IssuedAt, Revocations Content, long QueriedAt)
    {
        public bool HasContent(Revocations other) =>
            Content.TokenIds.SequenceEqual(other.TokenIds) && Content.NotBefore.SequenceEqual(other.NotBefore);
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "The tokens of {Count} clients were revoked as a whole, which is too many for the list of revoked tokens. APIs that "
            + "use the list refuse the tokens of every client that were issued up to {Until:u}; callers get new ones. The list "
            + "names clients again when the revoked tokens have expired")]
        public static partial void TooLong(ILogger logger, int count, DateTime until);
    }
}
