using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.RegularExpressions;

namespace TokenService.Secrets;

/// <summary>The cost parameters of Argon2id (RFC 9106 §3.1), with one lane.</summary>
/// <param name="MemoryKiB">m, 8192 to 65536 KiB.</param>
/// <param name="Iterations">t, 1 to 10 passes.</param>
internal readonly record struct Argon2Cost(int MemoryKiB, int Iterations)
{
    public const int MinMemoryKiB = 8192;
    public const int MaxMemoryKiB = 65536;
    public const int MinIterations = 1;
    public const int MaxIterations = 10;

    public bool IsWithinBounds =>
        MemoryKiB is >= MinMemoryKiB and <= MaxMemoryKiB &&
        Iterations is >= MinIterations and <= MaxIterations;
}

/// <summary>
/// An Argon2id digest with its parameters, written as a PHC string: <c>$argon2id$v=19$m=…,t=…,p=1$salt$hash</c>. The
/// SQL function <c>is_argon2id_digest</c> accepts the same strings.
/// </summary>
/// <param name="Cost">The cost parameters; verifying a secret costs as much as making the digest did.</param>
/// <param name="Salt">16 bytes.</param>
/// <param name="Hash">32 bytes.</param>
internal sealed partial record Argon2Digest(Argon2Cost Cost, byte[] Salt, byte[] Hash)
{
    public const int SaltLength = 16;
    public const int HashLength = 32;

    public static bool TryParse(string phc, [NotNullWhen(true)] out Argon2Digest? digest)
    {
        digest = null;
        var match = Phc().Match(phc);
        if (!match.Success)
            return false;

        var cost = new Argon2Cost(Number(match.Groups["m"]), Number(match.Groups["t"]));
        if (!cost.IsWithinBounds)
            return false;

        digest = new Argon2Digest(cost, Bytes(match.Groups["salt"], "=="), Bytes(match.Groups["hash"], "="));
        return true;
    }

    /// <summary>The PHC string.</summary>
    public override string ToString() =>
        $"$argon2id$v=19$m={Cost.MemoryKiB},t={Cost.Iterations},p=1${Unpadded(Salt)}${Unpadded(Hash)}";

    private static int Number(Group group) => int.Parse(group.ValueSpan, CultureInfo.InvariantCulture);

    private static byte[] Bytes(Group group, string padding) => Convert.FromBase64String(group.Value + padding);

    private static string Unpadded(byte[] bytes) => Convert.ToBase64String(bytes).TrimEnd('=');

    // The last character of each Base64 part must have zeros in its unused bits, so that each digest has one spelling.
    [GeneratedRegex(
        @"\A\$argon2id\$v=19\$m=(?<m>[1-9][0-9]{3,4}),t=(?<t>[1-9][0-9]?),p=1"
        + @"\$(?<salt>[A-Za-z0-9+/]{21}[AQgw])\$(?<hash>[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048])\z",
        RegexOptions.CultureInvariant)]
    private static partial Regex Phc();
}
