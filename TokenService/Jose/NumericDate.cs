using System.Text.Json;

namespace TokenService.Jose;

/// <summary>Reads the dates of JWTs (RFC 7519 §2): seconds since 1970, which others may write with a fraction.</summary>
internal static class NumericDate
{
    private const long EndOfYear9999 = 253_402_300_800;

    /// <summary>Reads a member. The fraction is cut off at a tenth of a microsecond, so it never makes an exp later.</summary>
    /// <param name="claims">A JSON object.</param>
    /// <param name="member">The name of the claim.</param>
    /// <param name="at">The date; null: there is no such member.</param>
    /// <returns>False: the member is not a number, or no date from 1970 to 9999.</returns>
    public static bool TryRead(JsonElement claims, string member, out DateTimeOffset? at)
    {
        at = null;
        if (!claims.TryGetProperty(member, out var value))
            return true;
        if (value.ValueKind != JsonValueKind.Number || !value.TryGetDecimal(out var seconds) || seconds is < 0 or >= EndOfYear9999)
            return false;
        at = DateTimeOffset.UnixEpoch.AddTicks((long)(seconds * TimeSpan.TicksPerSecond));
        return true;
    }
}
