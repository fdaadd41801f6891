using System.Security.Cryptography;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>A client that has proved who it is.</summary>
/// <param name="Client">Who.</param>
/// <param name="Secret">With which of its secrets.</param>
internal sealed record AuthenticatedClient(Client Client, ClientSecret Secret);

/// <summary>
/// Decides whether the caller is the client it names. Unknown, disabled, not allowed this way, wrong secret, dead secret:
/// the caller sees one answer. Who guesses at a generated secret causes no hash, unless its public selector is known; who guesses at
/// an imported one causes one hash, for an unknown client too, or one for each imported secret of the client, of which there are few.
/// </summary>
internal sealed class ClientAuthenticator(
    ClientCache clients, HashingThreads hashing, IOptions<HashingOptions> options, TimeProvider clock)
{
    // Costs what a real one costs, and no secret has it.
    private readonly SecretDigest dummy = new(
        options.Value.Cost,
        RandomNumberGenerator.GetBytes(SecretDigest.SaltLength),
        RandomNumberGenerator.GetBytes(SecretDigest.HashLength));

    public async Task<Result<AuthenticatedClient>> AuthenticateAsync(PresentedCredentials presented, CancellationToken ct)
    {
        // Damaged secrets of ours are known by their checksum, whoever sends them: neither database nor hash.
        GeneratedSecret? generated = null;
        if (GeneratedSecret.HasPrefix(presented.Secret) && !GeneratedSecret.TryParse(presented.Secret, out generated))
            return OAuthError.InvalidClient("the secret is damaged: its checksum is wrong");

        var client = await clients.FindAsync(presented.ClientId, ct);
        var obstacle = Obstacle(client, presented);
        var alive = obstacle is null ? client!.Secrets.Where(secret => secret.IsAliveAt(clock.GetUtcNow())) : [];

        var proved = generated is not null
            ? await ProveGeneratedAsync(generated, alive, ct)
            : await ProveImportedAsync(presented.Secret, alive, ct);
        if (proved.Refused(out var error, out var secret))
            return error;
        return secret is not null
            ? new AuthenticatedClient(client!, secret)
            : OAuthError.InvalidClient(obstacle ?? "no live secret of the client is this one");
    }

    private static string? Obstacle(Client? client, PresentedCredentials presented) => client switch
    {
        null => "unknown client",
        { IsEnabled: false } => "the client is disabled",
        _ when !client.AuthenticationMethods.Contains(presented.Method) => $"the client may not use {presented.Method}",
        _ => null,
    };

    // A secret of ours names its row: one hash at most, and none where the row is not a live secret of this client.
    private async Task<Result<ClientSecret?>> ProveGeneratedAsync(
        GeneratedSecret presented, IEnumerable<ClientSecret> alive, CancellationToken ct) =>
        alive.SingleOrDefault(secret => secret.Id == presented.Selector) is { } named
            ? await ProveAsync(presented.Value, named, ct)
            : (ClientSecret?)null;

    // A secret of another system names no row, so each live one is tried. Where there is none the dummy is hashed instead,
    // so that an unknown client takes as long as a wrong secret.
    private async Task<Result<ClientSecret?>> ProveImportedAsync(string presented, IEnumerable<ClientSecret> alive, CancellationToken ct)
    {
        var imported = alive.Where(secret => secret.IsImported).ToList();
        if (imported.Count == 0)
            return (await hashing.MatchesAsync(presented, dummy, ct)).Refused(out var error, out _) ? error : (ClientSecret?)null;

        foreach (var secret in imported)
        {
            var proved = await ProveAsync(presented, secret, ct);
            if (proved.Refused(out _, out var match) || match is not null)
                return proved;
        }

        return (ClientSecret?)null;
    }

    private async Task<Result<ClientSecret?>> ProveAsync(string presented, ClientSecret secret, CancellationToken ct)
    {
        if ((await hashing.MatchesAsync(presented, secret.Digest, ct)).Refused(out var error, out var matches))
            return error;
        return matches ? secret : (ClientSecret?)null;
    }
}
