namespace TokenService.Revocation;

/// <summary>All revocations of tokens that have not expired.</summary>
/// <param name="TokenIds">The jti of each token that was revoked alone, sorted.</param>
/// <param name="NotBefore">The clients whose tokens were all revoked, sorted by client.</param>
internal sealed record Revocations(IReadOnlyList<string> TokenIds, IReadOnlyList<ClientNotBefore> NotBefore)
{
    /// <summary>
    /// The characters of JSON that revocations may take in the list, which is a JWT of 160,000 characters then. Common
    /// verifiers read 250,000. The SQL function revoke_token keeps what clients cause below 90,000.
    /// </summary>
    public const int MaxLength = 120_000;

    // The function revoke_token keeps single tokens below 60,000.
    private const int MaxTokenLength = 90_000;

    // Quotation marks and a comma around a jti; the same, a colon and ten digits around a client_id.
    private const int TokenOverhead = 3;
    private const int ClientOverhead = 14;

    /// <summary>
    /// These revocations, if they fit in <see cref="MaxLength"/>. Otherwise the earliest of <see cref="NotBefore"/> are
    /// replaced by one for all clients, with the latest of their instants. Only an admin causes that, who disables or
    /// deletes thousands of clients within the lifetime of a token. If the single tokens alone do not fit, as somebody
    /// wrote the table by hand, all of them are replaced.
    /// </summary>
    /// <param name="now">No token was issued later than this.</param>
    public Revocations Fitted(DateTime now)
    {
        if (TokenLength + NotBefore.Sum(Length) <= MaxLength)
            return this;

        if (TokenLength > MaxTokenLength)
            return new Revocations([], [.. NotBefore, new(ClientNotBefore.EveryClient, now)]).Fitted(now);

        var room = MaxLength - TokenLength - Length(new(ClientNotBefore.EveryClient, default));
        var latestFirst = NotBefore.OrderByDescending(client => client.NotBefore).ToList();
        var kept = latestFirst.TakeWhile(client => (room -= Length(client)) >= 0).ToList();
        kept.Add(new(ClientNotBefore.EveryClient, latestFirst[kept.Count].NotBefore));
        return this with { NotBefore = [.. kept.OrderBy(client => client.ClientId, StringComparer.Ordinal)] };
    }

    private int TokenLength => TokenIds.Sum(id => id.Length + TokenOverhead);

    private static int Length(ClientNotBefore client) => client.ClientId.Length + ClientOverhead;
}

/// <param name="ClientId">The client whose tokens were revoked.</param>
/// <param name="NotBefore">Tokens issued up to this instant are revoked.</param>
internal sealed record ClientNotBefore(string ClientId, DateTime NotBefore)
{
    /// <summary>Stands for every client. No client has this id.</summary>
    public const string EveryClient = "*";
}
