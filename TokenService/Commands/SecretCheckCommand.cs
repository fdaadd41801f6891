using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Secrets;

namespace TokenService.Commands;

/// <summary>
/// <c>secret check</c>: what is wrong with a secret, for the operator who is asked why a client gets <c>invalid_client</c>. It needs the
/// rights of the service, which reads digests, and tells what the service never tells a caller.
/// </summary>
internal static class SecretCheckCommand
{
    private const int Good = 0;
    private const int Bad = 1;

    /// <param name="clientId">Whose secret it should be; null: only its form is looked at.</param>
    /// <param name="input">The secret, as one line.</param>
    /// <param name="output">Where the findings go; the secret does not.</param>
    /// <returns>Zero when the secret is well-formed and, where a client is named, gets that client in now.</returns>
    public static async Task<int> RunAsync(string? clientId, TextReader input, TextWriter output)
    {
        if (clientId is not null && GeneratedSecret.HasPrefix(clientId))
            return await SayAsync(output, Bad, "The client_id looks like a secret. If it was one, treat it as leaked.");
        var secret = SecretCommand.ReadSecret(input);
        if (SecretCommand.Defect(secret) is { } defect)
            return await SayAsync(output, Bad, defect);

        var generated = GeneratedSecret.TryParse(secret, out var parsed) ? parsed : null;
        await output.WriteLineAsync(generated is null
            ? "The secret was not made by TokenService, so its form tells nothing."
            : $"The secret is well-formed. Its secret_id is {generated.Selector}.");
        if (clientId is null)
            return generated is null ? Bad : Good;

        await using var services = CommandHost.Build();
        SecretHasher.Start();
        var store = services.GetRequiredService<ClientStore>();
        var client = await store.FindAsync(clientId, CancellationToken.None);
        if (generated is not null && await store.FindOwnerAsync(generated.Selector, CancellationToken.None) is var owner && owner != clientId)
        {
            return await SayAsync(output, Bad, owner is null
                ? "There is no secret of that id: it was never added, or its client was deleted."
                : $"That secret_id belongs to client {owner}.");
        }

        if (client is null)
            return await SayAsync(output, Bad, $"There is no client {clientId}.");
        var now = services.GetRequiredService<TimeProvider>().GetUtcNow();
        if (Find(client, secret, generated, now) is not { } match)
            return await SayAsync(output, Bad, $"No secret of client {clientId} is this one.");
        return await SayAsync(output, match, client, now);
    }

    // Dead ones too, but first those alive: a secret of another system may have been added twice.
    private static ClientSecret? Find(Client client, string secret, GeneratedSecret? generated, DateTimeOffset now) =>
        client.Secrets
            .Where(candidate => generated is null ? candidate.IsImported : candidate.Id == generated.Selector)
            .OrderByDescending(candidate => candidate.IsAliveAt(now))
            .FirstOrDefault(candidate => SecretHasher.Matches(secret, candidate.Digest)
                ?? throw new OperatorException("There is no memory to hash the secret."));

    private static Task<int> SayAsync(TextWriter output, ClientSecret match, Client client, DateTimeOffset now) => match switch
    {
        { RevokedAt: { } at } when at <= now => SayAsync(output, Bad, $"It is secret {match.Id} of client {client.Id}, revoked at {at:u}."),
        { ExpiresAt: { } at } when at <= now => SayAsync(output, Bad, $"It is secret {match.Id} of client {client.Id}, expired at {at:u}."),
        { NotBefore: var at } when at > now => SayAsync(output, Bad, $"It is secret {match.Id} of client {client.Id}, good from {at:u} on."),
        _ when !client.IsEnabled => SayAsync(output, Bad, $"It is secret {match.Id} of client {client.Id}, which is disabled."),
        { ExpiresAt: { } at } => SayAsync(output, Good, $"It is secret {match.Id} of client {client.Id}, good until {at:u}."),
        _ => SayAsync(output, Good, $"It is secret {match.Id} of client {client.Id}, good without end."),
    };

    private static async Task<int> SayAsync(TextWriter output, int exitCode, string finding)
    {
        await output.WriteLineAsync(finding);
        return exitCode;
    }
}
