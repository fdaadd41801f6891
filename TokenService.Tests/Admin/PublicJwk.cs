using System.Buffers.Text;
using System.Security.Cryptography;

namespace TokenService.Tests.Admin;

/// <summary>Public keys as JWKs, most of them examples of RFCs, with their thumbprints.</summary>
internal static class PublicJwk
{
    /// <summary>RFC 7515 §A.3.</summary>
    public const string P256 =
        """{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}""";

    public const string P256Thumbprint = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U";

    public const string P384 =
        """
        {"kty": "EC", "crv": "P-384", "x": "SzrRXmyI8VWFJg1dPUNbFcc9jZvjZEfH7ulKI1UkXAltd7RGWrcfFxqyGPcwu6AQ",
         "y": "hHUag3OvDzEr0uUQND4PXHQTXP5IDGdYhJhL-WLKjnGjQAw0rNGy5V29-aV-yseW"}
        """;

    /// <summary>RFC 8037 §A.2.</summary>
    public const string Ed25519 =
        """{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}""";

    /// <summary>RFC 8037 §A.3.</summary>
    public const string Ed25519Thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    /// <summary>RFC 7638 §3.1.</summary>
    public const string Rsa =
        """{"kty": "RSA", "n": """
        + "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst"
        + "n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n9"
        + "1CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\""
        + """, "e": "AQAB"}""";

    /// <summary>RFC 7638 §3.1.</summary>
    public const string RsaThumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    /// <summary>A key of its own on P-256.</summary>
    public static string NewP256()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var point = key.ExportParameters(includePrivateParameters: false).Q;
        return $$"""{"kty": "EC", "crv": "P-256", "x": "{{Base64Url.EncodeToString(point.X)}}", "y": "{{Base64Url.EncodeToString(point.Y)}}"}""";
    }

    /// <summary>The key with more members, or with others in their place: JSON keeps the last of two.</summary>
    public static string With(this string jwk, string members) => $"{jwk.TrimEnd()[..^1]}, {members}}}";
}
