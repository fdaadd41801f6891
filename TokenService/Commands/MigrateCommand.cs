using TokenService.Postgres;

namespace TokenService.Commands;

/// <summary><c>migrate</c>: applies the migrations the database has not seen.</summary>
internal static class MigrateCommand
{
    public static async Task<int> RunAsync(TextWriter output)
    {
        await using var services = CommandHost.Build();
        var applied = await services.GetRequiredService<Migrator>().MigrateAsync(Migration.All, CancellationToken.None);
        foreach (var migration in applied)
            await output.WriteLineAsync($"applied {migration.Name}");
        if (applied.Count == 0)
            await output.WriteLineAsync("nothing to apply");
        return 0;
    }
}
