using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace TokenService.Proofs;

/// <summary>SHA-256 over what makes an assertion or a proof the same one: 32 bytes.</summary>
internal readonly record struct IdHash(UInt128 High, UInt128 Low)
{
    /// <summary>
    /// The hash of an id. It is not over the JWT, because an ECDSA signature can be changed without the key, so a JWT has
    /// more than one valid encoding.
    /// </summary>
    /// <param name="kind">The kind of statement: <c>assertion</c> or <c>dpop</c>.</param>
    /// <param name="issuer">The client or key that made the id: ids of two may be equal. It has no line break.</param>
    /// <param name="id">The id.</param>
    public static IdHash Of(string kind, string issuer, string id)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes($"{kind}\n{issuer}\n{id}"), hash);
        return new IdHash(BinaryPrimitives.ReadUInt128BigEndian(hash), BinaryPrimitives.ReadUInt128BigEndian(hash[16..]));
    }

    public byte[] ToBytes()
    {
        var bytes = new byte[SHA256.HashSizeInBytes];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt128BigEndian(bytes.AsSpan(16), Low);
        return bytes;
    }
}

/// <summary>The id of an assertion that was verified, and that must be used up before anything is granted.</summary>
/// <param name="Hash">The hash of the client and its jti.</param>
/// <param name="Until">The assertion is refused for its age at and after this instant.</param>
/// <param name="IssuedAt">Its iat; null: it has none.</param>
internal sealed record OneTimeId(IdHash Hash, DateTimeOffset Until, DateTimeOffset? IssuedAt);
