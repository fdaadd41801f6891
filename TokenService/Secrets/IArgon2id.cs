namespace TokenService.Secrets;

/// <summary>
/// Argon2id 1.3 (RFC 9106) with one lane. There are two implementations, which compute the same hashes: the system's
/// libsodium, which is faster, and a managed package, which is always there.
/// </summary>
internal interface IArgon2id
{
    /// <summary>Computes the hash. False: there is not enough memory.</summary>
    /// <param name="password">At least one byte.</param>
    /// <param name="salt">16 bytes.</param>
    /// <param name="cost">The cost parameters, within their bounds.</param>
    /// <param name="hash">Receives the hash, 32 bytes.</param>
    public bool TryDerive(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, Argon2Cost cost, Span<byte> hash);
}
