using System.Text.Json;
using Npgsql;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Revocation;

/// <summary>
/// The signed list of what is dead before it expires, for APIs that verify tokens offline: a JWT with <c>iss</c>, <c>aud</c> (its own
/// address), <c>iat</c>, <c>exp</c>, <c>not_before</c> (of each client concerned, the NumericDate up to which its tokens are dead) and
/// <c>revoked</c> (each jti). It has no more than what would otherwise still live, or did a while ago.
/// </summary>
internal sealed class RevokedTokensList(RevocationStore store, SigningKeys keys, Issuer issuer, TimeProvider clock) : IDisposable
{
    /// <summary>Tells it from an access token, which it must never pass for (RFC 8725 §3.11).</summary>
    public const string Type = "revoked-tokens+jwt";

    /// <summary>Where it is, under the issuer.</summary>
    public const string Path = "/revoked-tokens";

    /// <summary>How long a reader may go without asking again.</summary>
    public static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(30);

    /// <summary>exp minus iat: after this, a reader that was kept from asking again knows nothing any more.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    // How often the database is asked, at most, however many readers there are.
    private static readonly TimeSpan AskAgainAfter = TimeSpan.FromSeconds(5);

    // An unchanged list is signed again after this, so that each has most of its life before it.
    private static readonly TimeSpan SignAgainAfter = TimeSpan.FromMinutes(1);

    // What has expired stays in the list for longer than any reader forgives: ASP.NET Core's takes a token for 5 minutes after its exp.
    private static readonly TimeSpan Forgiven = TimeSpan.FromMinutes(10);

    // A database that takes longer is as good as away, and is not asked again at once: its readers would wait one behind the other.
    private static readonly TimeSpan ReadTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AskAwayAgainAfter = TimeSpan.FromSeconds(1);

    private readonly JwsWriter writer = new(Type);
    private readonly SemaphoreSlim asking = new(1);

    private volatile Signed? last;

    // When the database last answered or was given up, and which of these. Written by who holds the semaphore.
    private long triedAt;
    private bool isAway;

    /// <summary>Where readers find it, and its <c>aud</c>: it is for all of them, and no other JWT has that one (RFC 8725 §3.12).</summary>
    public static string AddressAt(Issuer issuer) => issuer.Endpoint(Path);

    /// <summary>The list, in ASCII; the same object until it is another. Refused with 503 while there is no key to sign with.</summary>
    /// <exception cref="NpgsqlException">The database is away, and has been for so long that the last list is of no use.</exception>
    /// <exception cref="TimeoutException">The same, of one that does not answer.</exception>
    public async ValueTask<Result<byte[]>> GetAsync(CancellationToken ct)
    {
        if (last is { } known && clock.GetElapsedTime(known.AskedAt) < AskAgainAfter)
            return known.Jwt;

        if (!asking.Wait(0, ct))
        {
            if (last is { } meanwhile && ServesMeanwhile(meanwhile))
                return meanwhile.Jwt;
            await asking.WaitAsync(ct);
        }

        try
        {
            if (last is { } asked && clock.GetElapsedTime(asked.AskedAt) < AskAgainAfter)
                return asked.Jwt;
            if ((await AskInTimeAsync()).Refused(out var error, out var list))
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

    // Not when nobody has asked for long, as where readers are few: of two that come at once, one would get what is minutes old from a
    // database that is well.
    private bool ServesMeanwhile(Signed list) =>
        IsOfUse(list) && clock.GetElapsedTime(Volatile.Read(ref triedAt)) < AskAgainAfter + ReadTimeout;

    // Whoever keeps it for as long as allowed still has it alive at their end.
    private bool IsOfUse(Signed list) => AgeOf(list) + MaxAge < Lifetime;

    // Not for as long as one reader waits: the others need it too.
    private async Task<Result<Signed>> AskInTimeAsync()
    {
        if (isAway && clock.GetElapsedTime(triedAt) < AskAwayAgainAfter)
            throw new TimeoutException("The database did not answer a moment ago.");

        try
        {
            var list = await DatabaseUnavailable.AskAsync(ReadTimeout, clock, AskAsync);
            isAway = false;
            return list;
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            isAway = true;
            throw;
        }
        finally
        {
            Volatile.Write(ref triedAt, clock.GetTimestamp());
        }
    }

    // It may go on when nobody waits for it any more, and so leaves it to its caller to keep what it returns.
    private async Task<Result<Signed>> AskAsync(CancellationToken ct)
    {
        var askedAt = clock.GetTimestamp();
        var now = DateTimeOffset.FromUnixTimeSeconds(clock.GetUtcNow().ToUnixTimeSeconds());
        var content = await store.LoadAsync(now - Forgiven, TokenOptions.MaxLifetime, ct);
        if ((await keys.SignerAsync(algorithm: null, Lifetime, ct)).Refused(out var error, out var signer))
            return error;
        // Not when its key was withdrawn, or is about to go.
        if (last is { } before && before.Kid == signer.Kid && before.HasContent(content) && AgeOf(before) < SignAgainAfter)
            return before with { AskedAt = askedAt };

        return new Signed(writer.Write(signer, new Claims(issuer, now, content), Write), signer.Kid, now, content, askedAt);
    }

    private TimeSpan AgeOf(Signed list) => clock.GetUtcNow() - list.At;

    private static void Write(Claims claims, Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("iss"u8, claims.Issuer.Value);
        json.WriteString("aud"u8, AddressAt(claims.Issuer));
        json.WriteNumber("iat"u8, claims.At.ToUnixTimeSeconds());
        json.WriteNumber("exp"u8, (claims.At + Lifetime).ToUnixTimeSeconds());
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

    private readonly record struct Claims(Issuer Issuer, DateTimeOffset At, Revocations Content);

    /// <param name="Jwt">The list.</param>
    /// <param name="Kid">Of the key that signed it.</param>
    /// <param name="At">Its iat.</param>
    /// <param name="Content">What it says.</param>
    /// <param name="AskedAt">When the database last said the same.</param>
    private sealed record Signed(byte[] Jwt, string Kid, DateTimeOffset At, Revocations Content, long AskedAt)
    {
        public bool HasContent(Revocations other) =>
            Content.TokenIds.SequenceEqual(other.TokenIds) && Content.NotBefore.SequenceEqual(other.NotBefore);
    }
}
