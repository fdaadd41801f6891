using System.Globalization;
using Dapper;
using Npgsql;
using TokenService.Configuration;
using TokenService.Keys;
using TokenService.Postgres;

namespace TokenService.Commands;

/// <summary>
/// <c>keys list</c>, <c>keys rotate</c> and <c>keys reseal</c>: an operator lists, rotates and reseals signing keys.
/// </summary>
internal static class KeysCommand
{
    private const string Rotate = """
        select kid as "Kid",
               alg as "Algorithm",
               signs_from as "SignsFrom"
        from token_service.rotate_signing_key()
        """;

    // Keys that have been gone for longer are not listed.
    private static readonly TimeSpan ListedGoneTime = TimeSpan.FromDays(30);

    public static async Task<int> ListAsync(TextWriter output)
    {
        await using var services = CommandHost.Build();
        await services.GetRequiredService<Migrator>().CheckAsync(CancellationToken.None);
        var now = services.GetRequiredService<TimeProvider>().GetUtcNow();
        var store = services.GetRequiredService<SigningKeyStore>();
        var ring = await store.LoadAsync(now - ListedGoneTime, CancellationToken.None);

        await output.WriteLineAsync(Line("kid", "algorithm", "state", "signs from", "signs until", "gone after", "sealed by"));
        foreach (var key in ring.Keys)
        {
            await output.WriteLineAsync(Line(
                key.Kid, key.Algorithm, key.StateAt(now).ToString().ToLowerInvariant(),
                Date(key.SignsFrom), Date(key.SignsUntil), Date(key.GoneAfter), key.SealedBy ?? "-"));
        }

        return 0;
    }

    public static async Task<int> RotateAsync(TextWriter output)
    {
        await using var services = CommandHost.Build();
        await services.GetRequiredService<Migrator>().CheckAsync(CancellationToken.None);
        await using var connection = await services.GetRequiredService<NpgsqlDataSource>().OpenConnectionAsync();
        var rotated = (await connection.QueryAsync<NextKey>(
            Rotate, commandTimeout: connection.CommandTimeout)).ToList();
        foreach (var next in rotated)
            await output.WriteLineAsync($"{next.Kid} ({next.Algorithm}) signs from {Date(next.SignsFrom)}");
        if (rotated.Count == 0)
            await output.WriteLineAsync("no key is next: the server makes one within seconds of starting");
        return 0;
    }

    public static async Task<int> ResealAsync(TextWriter output)
    {
        await using var services = CommandHost.Build();
        Settings.Get<KeyOptions>(services);
        await services.GetRequiredService<Migrator>().CheckAsync(CancellationToken.None);
        var current = services.GetRequiredService<SealingKeys>().Current;
        var resealed = await services.GetRequiredService<SigningKeyStore>().ResealAsync(CancellationToken.None);
        foreach (var kid in resealed)
            await output.WriteLineAsync($"{kid} is now sealed with {current.Id}");
        if (resealed.Count == 0)
            await output.WriteLineAsync($"all keys are sealed with {current.Id}");
        return 0;
    }

    private static string Line(
        string kid, string algorithm, string state, string signsFrom, string signsUntil, string goneAfter, string sealedBy) =>
        $"{kid,-43}  {algorithm,-9}  {state,-9}  {signsFrom,-20}  {signsUntil,-20}  {goneAfter,-20}  {sealedBy}";

    private static string Date(DateTimeOffset? date) => date?.ToString("u", CultureInfo.InvariantCulture) ?? "-";

    internal sealed record NextKey(string Kid, string Algorithm, DateTime SignsFrom);
}
