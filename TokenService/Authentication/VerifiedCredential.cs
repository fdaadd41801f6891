using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Authentication;

/// <summary>A credential that was verified: a closed set, with a record for each kind of credential.</summary>
internal abstract record VerifiedCredential
{
    public abstract CredentialId Id { get; }

    /// <summary>
    /// True when the client, read again after the verification, still has this credential and it is valid.
    /// </summary>
    public abstract bool IsHeldBy(Client client, DateTimeOffset now);

    /// <param name="Row">The row whose digest the secret matched.</param>
    public sealed record Secret(ClientSecret Row) : VerifiedCredential
    {
        public override CredentialId Id => CredentialId.OfSecret(Row.Id);

        public override bool IsHeldBy(Client client, DateTimeOffset now)
        {
            foreach (var row in client.Secrets)
            {
                if (row.IsSameAs(Row))
                    return row.IsAliveAt(now);
            }

            return false;
        }
    }
}
