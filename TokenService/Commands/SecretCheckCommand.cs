using Npgsql;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Secrets;

namespace TokenService.Commands;

/// <summary>
/// <c>secret check</c>: an operator finds out why a client with this secret gets <c>invalid_client</c>. The command
/// connects with the service's rights, which include reading digests. It reports details that the service never tells a
/// caller.
/// </summary>
internal static class SecretCheckCommand
{
    private const int Good = 0;
    private const int Bad = 1;

    /// <param name="clientId">
    /// The client that should have the secret; null: only the form of the secret is checked.
    /// </param>
    /// <param name="input">The secret, as one line.</param>
    /// <param name="output">Receives the findings, but never the secret.</param>
    /// <returns>Zero when the secret is well-formed and, if a client is named, authenticates that client now.</returns>
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
        if (SecretCommand.EncodingWarning(secret) is { } warning)
            await output.WriteLineAsync(warning);
        if (clientId is null)
            return generated is null ? Bad : Good;

        await using var services = CommandHost.Build();
        var hasher = services.GetRequiredService<SecretHasher>();
        var store = services.GetRequiredService<ClientStore>();
        Client? client;
        try
        {
            client = await store.FindAsync(clientId, CancellationToken.None);
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InsufficientPrivilege)
        {
            return await SayAsync(
                output, Bad, "This database user may not read digests. Connect as the service's user, a member of token_service_app.");
        }

        if (generated is not null)
        {
            var owner = await store.FindOwnerAsync(generated.Selector, CancellationToken.None);
            if (owner is null)
            {
                return await SayAsync(
                    output, Bad, "There is no secret of that id: it was never added, or its client was deleted.");
            }

            if (owner != clientId)
                return await SayAsync(output, Bad, $"That secret_id belongs to client {owner}.");
        }

        if (client is null)
            return await SayAsync(output, Bad, $"There is no client {clientId}.");
        var now = services.GetRequiredService<TimeProvider>().GetUtcNow();
        if (Find(hasher, client, secret, generated, now) is not { } match)
            return await SayAsync(output, Bad, $"No secret of client {clientId} is this one.");
        return await SayAsync(output, match, client, now);
    }

    // Expired and revoked secrets are compared too, so that the operator learns of them. Valid ones come first, because
    // an imported secret may have been added twice.
    private static ClientSecret? Find(
        SecretHasher hasher, Client client, string secret, GeneratedSecret? generated, DateTimeOffset now) =>
        client.Secrets
            .Where(candidate => generated is null ? candidate.IsImported : candidate.Id == generated.Selector)
            .OrderByDescending(candidate => candidate.IsAliveAt(now))
            .FirstOrDefault(candidate => hasher.Matches(secret, candidate.Digest)
                ?? throw new OperatorException("There is not enough memory to hash the secret."));

    private static Task<int> SayAsync(TextWriter output, ClientSecret match, Client client, DateTimeOffset now)
    {
        var (exitCode, state) = match switch
        {
            { RevokedAt: { } at } when at <= now => (Bad, $"revoked at {at:u}"),
            { ExpiresAt: { } at } when at <= now => (Bad, $"expired at {at:u}"),
            { NotBefore: var at } when at > now => (Bad, $"good from {at:u} on"),
            _ when !client.IsEnabled => (Bad, "which is disabled"),
            { ExpiresAt: { } at } => (Good, $"good until {at:u}"),
            _ => (Good, "good without end"),
        };
        return SayAsync(output, exitCode, $"It is secret {match.Id} of client {client.Id}, {state}.");
    }

    private static async Task<int> SayAsync(TextWriter output, int exitCode, string finding)
    {
        await output.WriteLineAsync(finding);
        return exitCode;
    }
}
