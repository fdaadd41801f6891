namespace TokenService.Protocol;

/// <summary>One credential of a client, as the table <c>credential_use</c> names it.</summary>
/// <param name="Kind">The kind of credential; see the constants.</param>
/// <param name="Id">Unique within its kind. Not secret, so it may be logged.</param>
internal readonly record struct CredentialId(string Kind, string Id)
{
    /// <summary>The kind of a client secret; its id is <c>client_secret.id</c>.</summary>
    public const string Secret = "secret";

    /// <summary>The kind of a client key; its id is the client_id and the kid, with a space between.</summary>
    public const string Key = "key";

    public static CredentialId OfSecret(string secretId) => new(Secret, secretId);

    public static CredentialId OfKey(string clientId, string kid) => new(Key, $"{clientId} {kid}");
}
