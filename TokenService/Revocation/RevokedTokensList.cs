using System.Text.Json;
using Npgsql;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Revocation;

/// <summary>
/// The signed list of what is dead before it expires, for APIs that verify tokens offline. It is a JWT with <c>iss</c>, <c>aud</c>
/// (its own address), <c>iat</c>, <c>exp</c>, <c>not_before</c> (for each client concerned, the NumericDate up to which its tokens
/// are dead) and <c>revoked</c> (each jti). It names only tokens that would otherwise still be good, or were a while ago.
/// </summary>
internal sealed class RevokedTokensList(RevocationStore store, SigningKeys keys, Issuer issuer, TimeProvider clock) : IDisposable
{
    /// <summary>Tells the list from an access token, for which it must never pass (RFC 8725 §3.11).</summary>
    public const string Type = "revoked-tokens+jwt";

    /// <summary>Its path under the issuer.</summary>
    public const string Path = "/revoked-tokens";

    /// <summary>How long a reader may go without asking again.</summary>
    public static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(30);

    /// <summary>exp minus iat. After this, a reader that was kept from asking again knows nothing any more.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    // The database is asked at most this often, however many readers there are.
    private static readonly TimeSpan AskInterval = TimeSpan.FromSeconds(5);

    // An unchanged list is signed again after this, so that each list has most of its life before it.
    private static readonly TimeSpan SignInterval = TimeSpan.FromMinutes(1);

    // An expired token stays in the list for longer than any reader forgives; ASP.NET Core's forgives 5 minutes.
    private static readonly TimeSpan Leeway = TimeSpan.FromMinutes(10);

    private readonly JwsWriter writer = new(Type);
    private readonly SemaphoreSlim asking = new(1);
    private readonly DatabaseGate gate = new(clock);

    private volatile SignedList? last;

    // When the database last answered or was given up. Written by the holder of the semaphore.
    private long triedAt;

    /// <summary>
    /// Its address, and its <c>aud</c>: the list is for all readers, and no other JWT has this audience (RFC 8725 §3.12).
    /// </summary>
    public static string AddressAt(Issuer issuer) => issuer.Endpoint(Path);

    /// <summary>The list, in ASCII; the same object until it changes. Refused with 503 while there is no key to sign with.</summary>
    /// <exception cref="NpgsqlException">The database is unavailable, for so long that the last list is of no use.</exception>
    /// <exception cref="TimeoutException">The same, when the database does not answer.</exception>
    public async ValueTask<Result<byte[]>> GetAsync(CancellationToken ct)
    {
        if (last is { } known && clock.GetElapsedTime(known.AskedAt) < AskInterval)
            return known.Jwt;

        if (!asking.Wait(0, ct))
        {
            if (last is { } meanwhile && IsServedMeanwhile(meanwhile))
                return meanwhile.Jwt;
            await asking.WaitAsync(ct);
        }

        try
        {
            if (last is { } asked && clock.GetElapsedTime(asked.AskedAt) < AskInterval)
                return asked.Jwt;
            if (!(await AskAsync()).TryGet(out var list, out var error))
                return error;
            last = list;
            return list.Jwt;
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e) && last is { } before && IsOfUse(before))
        {
            return before.Jwt;
        }
        finally
        {
            asking.Release();
        }
    }

    public void Dispose() => asking.Dispose();

    // Readers may be so few that nobody has asked for minutes. Then the second of two that come at once waits for the first one's
    // answer: it would otherwise get a list that is minutes old, although the database is well.
    private bool IsServedMeanwhile(SignedList list) =>
        IsOfUse(list) && clock.GetElapsedTime(Volatile.Read(ref triedAt)) < AskInterval + DatabaseGate.QuestionTimeout;

    // A reader that keeps it for as long as allowed must not find it expired at the end.
    private bool IsOfUse(SignedList list) => AgeOf(list) + MaxAge < Lifetime;

    // Without the caller's token: other readers need the answer too.
    private async Task<Result<SignedList>> AskAsync()
    {
        if (!gate.TryEnter())
            throw new TimeoutException("The database did not answer a moment ago.");

        try
        {
            return await gate.AskAsync(MakeAsync);
        }
        finally
        {
            Volatile.Write(ref triedAt, clock.GetTimestamp());
        }
    }

    // It may go on when nobody waits for it any more, so it does not keep what it returns.
    private async Task<Result<SignedList>> MakeAsync(CancellationToken ct)
    {
        var askedAt = clock.GetTimestamp();
        var now = DateTimeOffset.FromUnixTimeSeconds(clock.GetUtcNow().ToUnixTimeSeconds());
        var content = await store.LoadAsync(now - Leeway, TokenOptions.MaxLifetime, ct);
        if (!(await keys.SignerAsync(algorithm: null, Lifetime, ct)).TryGet(out var signer, out var error))
            return error;

        // A list whose key was withdrawn, or is about to go, is signed again.
        var kid = signer.PublicKey.Kid;
        if (last is { } before && before.Kid == kid && before.HasContent(content) && AgeOf(before) < SignInterval)
            return before with { AskedAt = askedAt };

        return new SignedList(writer.Write(signer, new Claims(issuer, now, content), Write), kid, now, content, askedAt);
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

    /// <param name="Jwt">The list.</param>
    /// <param name="Kid">The key that signed it.</param>
    /// <param name="IssuedAt">Its iat.</param>
    /// <param name="Content">What it says.</param>
    /// <param name="AskedAt">When the database last said the same; a timestamp.</param>
    private sealed record SignedList(byte[] Jwt, string Kid, DateTimeOffset IssuedAt, Revocations Content, long AskedAt)
    {
        public bool HasContent(Revocations other) =>
            Content.TokenIds.SequenceEqual(other.TokenIds) && Content.NotBefore.SequenceEqual(other.NotBefore);
    }
}
