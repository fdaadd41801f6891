using System.Runtime.InteropServices;
using Npgsql;
using TokenService.Configuration;
using TokenService.Postgres;
using TokenService.Secrets;

namespace TokenService.Commands;

/// <summary>
/// <c>import</c>: brings the clients of another server, from a file that this server exported. Without <c>--apply</c> it
/// only says what it would make. scripts/IMPORT.md is for the admin who uses it.
/// </summary>
internal static class ImportCommand
{
    private const int Done = 0;
    private const int WrongCommand = 2;
    private const int SomeNotBrought = 3;
    private const int Interrupted = 4;

    // Clients that are written, each in its own transaction, after their new secrets are on disk.
    private const int BatchSize = 32;

    private const string Help = """
        usage: TokenService import --from keycloak|auth0|hydra|csv [options] FILE

        Shows which clients of the file would be made, and which cannot be and why. With --apply it makes them.

          --apply                make the clients
          --resource API         the API of scopes for which the file names none
          --scopes 'NAME …'      the scopes of clients that have none at an API
          --default-scopes all|none   what a request without scope gets; otherwise as the file says
          --map NAME=API         the resource that stands for an audience of the file; may be repeated
          --rename ID=NEW        another id for a client; may be repeated
          --new-secrets          a new secret for every client
          --new-secret-for ID    a new secret for one client; may be repeated
          --secrets-file PATH    where new secrets are written; only you can read it
          --signing-alg ALG      the algorithm of APIs that are made, such as RS256
          --no-claims            without extra claims
          --no-claims-for ID     without extra claims for one client; may be repeated
          --skip ID              a client that is not brought; may be repeated
          --cores N              how many secrets are hashed at once; otherwise all cores but one

        Exit code: 0 all are made or there already, 1 an error, 2 a wrong command, 3 some are not as in the file, 4 ended early.
        scripts/IMPORT.md says more.
        """;

    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter error)
    {
        if (args is ["--help"])
        {
            await output.WriteLineAsync(Help);
            return Done;
        }

        if (ImportOptions.Parse(args, out var wrong) is not { } options)
        {
            await error.WriteLineAsync($"{wrong} See: TokenService import --help");
            return WrongCommand;
        }

        using var stop = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        try
        {
            return await new Import(options, output, error).RunAsync(stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            await error.WriteLineAsync("Ended early. Run the same command again: it goes on with the clients that are not there yet.");
            return Interrupted;
        }

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
        }
    }

    private sealed class Import(ImportOptions options, TextWriter output, TextWriter error)
    {
        // A digest that the database takes, for a dry run.
        private static readonly string AnyDigest = new Argon2Digest(
            new(Argon2Cost.MinMemoryKiB, 1), new byte[Argon2Digest.SaltLength], new byte[Argon2Digest.HashLength]).ToString();

        private readonly ImportReport report = new(output);

        public async Task<int> RunAsync(CancellationToken ct)
        {
            var export = options.Read();
            var planned = new ImportPlan(options).Plan(export);
            report.Begin(export, options.Skipped);

            await using var services = CommandHost.Build();
            await services.GetRequiredService<Migrator>().CheckAsync(ct);
            await using var connection = await services.GetRequiredService<NpgsqlDataSource>().OpenConnectionAsync(ct);
            var store = new ImportStore(
                connection, resource => options.SigningAlgorithm ?? export.SigningAlgorithms.GetValueOrDefault(resource));

            var missing = await ReportExistingAsync(store, planned, ct);
            if (options.Apply)
                await MakeAsync(services, store, missing, ct);
            else
                await TryAsync(store, missing, ct);
            report.End(options.Apply);
            foreach (var algorithm in await store.AlgorithmsNotReadyAsync())
                report.IsNotReady(algorithm);
            return report.HasProblems ? SomeNotBrought : Done;
        }

        // The clients that have to be made, after a line for each of the others.
        private async Task<List<PlannedClient>> ReportExistingAsync(
            ImportStore store, IReadOnlyList<PlannedClient> planned, CancellationToken ct)
        {
            var existing = await store.CompareAsync(planned.Where(client => client.Obstacle is null), ct);
            var missing = new List<PlannedClient>();
            foreach (var client in planned)
            {
                if (client.Obstacle is not null)
                    report.Cannot(client, client.Obstacle);
                else if (!existing.TryGetValue(client.Id, out var differences))
                    missing.Add(client);
                else if (differences.Count == 0)
                    report.IsThere(client, isShown: !options.Apply);
                else
                    report.Differs(client, differences);
            }

            return missing;
        }

        private async Task TryAsync(ImportStore store, List<PlannedClient> clients, CancellationToken ct)
        {
            var progress = Progress(clients.Count);
            var answers = new List<(PlannedClient, ImportAnswer)>();
            foreach (var client in clients)
            {
                answers.Add((client, await store.TryAsync(client, SecretIdOf(client), AnyDigest, ct)));
                progress.Report(answers.Count);
            }

            progress.End();
            foreach (var (client, answer) in answers)
                report.Answered(client, answer, isMade: false);
        }

        private async Task MakeAsync(IServiceProvider services, ImportStore store, List<PlannedClient> clients, CancellationToken ct)
        {
            if (clients.Count == 0)
                return;
            using var secrets = OpenSecretsFile(clients);
            var work = clients.ConvertAll(client => new Work(client, client.Secret is null ? secrets!.SecretOf(client.Id) : null));
            var hasher = services.GetRequiredService<SecretHasher>();
            var cost = Settings.Get<HashingOptions>(services).Cost;
            await SayHowLongAsync(hasher, clients.Count, cost);

            var progress = Progress(clients.Count);
            var (batch, done) = (new List<(Work Work, Argon2Digest Digest)>(), 0);
            try
            {
                await foreach (var hashed in new ImportHashing(hasher, cost, options.Cores).HashAsync(work, item => item.Secret, ct))
                {
                    batch.Add(hashed);
                    if (batch.Count == BatchSize || (secrets is null && batch.Count > 0) || done + batch.Count == clients.Count)
                        await WriteBatchAsync();
                }
            }
            finally
            {
                progress.End();
            }

            async Task WriteBatchAsync()
            {
                secrets?.Add(batch.Where(each => each.Work.New is not null).Select(each => (each.Work.Client.Id, each.Work.New!)));
                foreach (var (item, digest) in batch)
                {
                    var label = $"imported from {options.From}";
                    var answer = await store.MakeAsync(item.Client, item.SecretId, digest.ToString(), label, ct);
                    progress.Report(++done);
                    if (answer.Refusal is not null)
                        progress.End();
                    report.Answered(item.Client, answer, isMade: true);
                }

                batch.Clear();
            }
        }

        private SecretsFile? OpenSecretsFile(List<PlannedClient> clients)
        {
            var count = clients.Count(client => client.Secret is null);
            if (count == 0)
                return null;
            return options.SecretsFile is { } path
                ? SecretsFile.Open(path)
                : throw new OperatorException(
                    $"{count} clients get a new secret. Say where these are written, in a file that only you can read: "
                    + "--secrets-file PATH");
        }

        private async Task SayHowLongAsync(SecretHasher hasher, int count, Argon2Cost cost)
        {
            var clock = TimeProvider.System;
            var one = Enumerable.Range(0, 3).Min(_ =>
            {
                var start = clock.GetTimestamp();
                hasher.Hash("measured", cost);
                return clock.GetElapsedTime(start);
            });
            await error.WriteLineAsync(
                $"{count} secrets to hash, {one.TotalMilliseconds:0} ms each, {options.Cores} at a time: about "
                + $"{ImportProgress.Shown(one * ((double)count / options.Cores))}. It may be ended at any time and run again.");
        }

        private ImportProgress Progress(int count) => new(error, !Console.IsErrorRedirected, count, TimeProvider.System);

        private static string SecretIdOf(PlannedClient client) =>
            GeneratedSecret.TryParse(client.Secret ?? "", out var generated) ? generated.Selector
            : client.Secret is null ? GeneratedSecret.NewSelector()
            : ClientSecret.NewImportedId();

        /// <param name="Client">The client to make.</param>
        /// <param name="New">Its new secret; null: it brings one.</param>
        private sealed record Work(PlannedClient Client, GeneratedSecret? New)
        {
            public string Secret => New?.Value ?? Client.Secret!;

            public string SecretId => New?.Selector ?? SecretIdOf(Client);

            public override string ToString() => Client.Id; // a record's own ToString would print the secret
        }
    }
}
