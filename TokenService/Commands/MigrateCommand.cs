using TokenService.Postgres;

namespace TokenService.Commands;

/// <summary><c>migrate</c>: applies the missing migrations, and the functions and rights of this build.</summary>
internal static class MigrateCommand
{
    public static async Task<int> RunAsync(TextWriter output)
    {
        await using var services = CommandHost.Build();
        var report = await services.GetRequiredService<Migrator>().MigrateAsync(DatabaseSchema.OfThisBuild, CancellationToken.None);
        foreach (var name in report.Applied)
            await output.WriteLineAsync($"applied {name}");
        if (report.NewerSchema is { } latest)
        {
            await output.WriteLineAsync(
                $"The database has migrations up to {latest}, this build knows {DatabaseSchema.OfThisBuild.Migrations.Count}. "
                + "Its functions and rights are those of a newer build, and were left alone.");
        }
        else if (report.Applied.Count == 0)
        {
            await output.WriteLineAsync("nothing new to apply; roles, rights and functions are in place");
        }

        return 0;
    }
}
