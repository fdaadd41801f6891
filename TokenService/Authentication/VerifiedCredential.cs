using TokenService.Clients;
using TokenService.Proofs;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>A credential that was verified: a closed set, with a record for each kind of credential.</summary>
/// <param name="TookTime">
/// True when the verification had to wait, so the client or the credential may have been withdrawn meanwhile.
/// </param>
internal abstract record VerifiedCredential(bool TookTime)
{
    public abstract CredentialId Id { get; }

    /// <summary>
    /// Why the client, read again, does not have this credential any more: one of <see cref="Reason"/>. Null: it has.
    /// </summary>
    public abstract string? FailureOf(Client client, DateTimeOffset now);

    /// <param name="Row">The row whose digest the secret matched.</param>
    /// <param name="TookTime">True when the secret was hashed.</param>
    public sealed record Secret(ClientSecret Row, bool TookTime) : VerifiedCredential(TookTime)
    {
        public override CredentialId Id => CredentialId.OfSecret(Row.Id);

        public override string? FailureOf(Client client, DateTimeOffset now)
        {
            foreach (var row in client.Secrets)
            {
                if (row.IsSameAs(Row))
                    return row.FailureAt(now);
            }

            return Row.IsImported ? Reason.SecretWrong : Reason.SecretUnknown;
        }
    }

    /// <param name="Row">The row whose key verified the assertion.</param>
    /// <param name="Once">The assertion's id, which must be used up before anything is granted.</param>
    public sealed record Key(ClientKey Row, OneTimeId Once) : VerifiedCredential(TookTime: false)
    {
        public override CredentialId Id => Row.Id;

        public override string? FailureOf(Client client, DateTimeOffset now) =>
            client.FindKey(Row.Kid) is { } row && row.Jwk?.Thumbprint == Row.Jwk?.Thumbprint && row.Algorithm == Row.Algorithm
                ? row.FailureAt(now)
                : Reason.AssertionKeyUnknown;
    }
}
