using System.Diagnostics;
using System.Globalization;
using System.Runtime.Versioning;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Import;

/// <summary>An import that was ended half-way goes on where it was, and no client loses its secret.</summary>
[TestFixture, UnsupportedOSPlatform("windows")]
public sealed class ImportsThatEndEarly : ImportFixture
{
    private const int Count = 120;

    [TestCase("TERM", 4)]
    [TestCase("INT", 4)]
    [TestCase("KILL", 137)]
    public async Task It_goes_on_with_the_clients_that_are_missing(string signal, int exitCode)
    {
        var file = Written("client_id,resource,scopes,default_scopes\n" + string.Concat(Enumerable.Range(1, Count)
            .Select(n => string.Create(CultureInfo.InvariantCulture, $"bulk-{n},https://api.example.com,a,a\n"))));
        using var import = Start(file);
        var output = import.StandardError.ReadToEndAsync();
        await Soon.IsAsync("a batch of clients is made", async () => await CountAsync() > 0);
        Assert.That((await Tool.RunAsync("kill", [$"-{signal}", $"{import.Id}"])).ExitCode, Is.Zero);
        await import.WaitForExitAsync();
        var made = await CountAsync();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(import.ExitCode, Is.EqualTo(exitCode));
            Assert.That(made, Is.LessThan(Count));
            Assert.That(await output, signal is "KILL" ? Is.Not.Empty : Does.EndWith(
                "Ended early. Run the same command again: it goes on with the clients that are not there yet.\n"));
        }

        var rest = await ImportAsync("csv", file, "--apply", "--secrets-file", SecretsFile);

        Assert.That((rest.ExitCode, rest.Output), Is.EqualTo(
            (0, $"{Count} clients in the file: {Count - made} made ({Count - made} with a new secret), {made} there already, 0 there but "
                + "different, 0 impossible, 0 left out.\n")));
        await EachHasTheSecretOfTheFileAsync();
    }

    // The secret is written before the client is committed.
    [Test]
    public async Task A_secret_that_was_written_for_a_client_that_was_not_made_is_used()
    {
        var secret = GeneratedSecret.Create();
        await File.WriteAllTextAsync(SecretsFile, $"client_id,client_secret\nnew,{secret.Value}\n\"half, a lin");
        File.SetUnixFileMode(SecretsFile, UnixFileMode.UserRead | UnixFileMode.UserWrite);

        var made = await ImportAsync("csv", Written("client_id\nnew\nother\n"), "--apply", "--secrets-file", SecretsFile);

        Assert.That((made.ExitCode, made.Error.Contains(secret.Value, StringComparison.Ordinal)), Is.EqualTo((0, false)), made.Error);
        Assert.That(NewSecrets(), Has.Count.EqualTo(2));
        Assert.That(NewSecrets()["new"], Is.EqualTo(secret.Value));
        Assert.That(
            await Database.ReadAsync<string>("select id from token_service.client_secret where client_id = "
                + "'new'"), Is.EqualTo(secret.Selector));
    }

    [TestCase("notes of an admin\n", 0x180, "exists, and is not a file of new secrets of an import. It was left as it is.")]
    [TestCase("client_id,client_secret\nnew,rubbish\n", 0x180, "is not a client_id and a secret. The file was left as it is.")]
    [TestCase("client_id,client_secret\n", 0x1A4, "exists, and others may read it. Name another file, or: chmod 600")]
    public async Task Another_file_is_not_overwritten(string content, int mode, string message)
    {
        await File.WriteAllTextAsync(SecretsFile, content);
        File.SetUnixFileMode(SecretsFile, (UnixFileMode)mode);
        await IsRefusedAsync(message);
        Assert.That(await File.ReadAllTextAsync(SecretsFile), Is.EqualTo(content));
    }

    // Root may change the mode of anybody's file, so it does not notice whose it is.
    [Test]
    public async Task A_file_in_a_directory_of_everybody_is_not_taken_by_root()
    {
        Assume.That(System.Environment.IsPrivilegedProcess);
        await File.WriteAllTextAsync(SecretsFile, "client_id,client_secret\n");
        File.SetUnixFileMode(SecretsFile, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.SetUnixFileMode(
            Folder, File.GetUnixFileMode(Folder) | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute | UnixFileMode.StickyBit);
        await IsRefusedAsync("exists in a directory in which others may make files, so it may not be yours. Move it to one of your own.");
    }

    [Test]
    public async Task A_symbolic_link_is_not_followed([Values] bool isDangling)
    {
        var target = Path.Combine(Folder, "target");
        if (!isDangling)
        {
            await File.WriteAllTextAsync(target, "client_id,client_secret\n");
            File.SetUnixFileMode(target, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        File.CreateSymbolicLink(SecretsFile, target);
        await IsRefusedAsync(isDangling ? "cannot be written" : "exists, and others may read it");
        Assert.That(File.Exists(target), Is.EqualTo(!isDangling));
    }

    [Test]
    public async Task New_secrets_need_a_file()
    {
        var refused = await ImportAsync("csv", Written("client_id\nnew\n"), "--apply");
        Assert.That((refused.ExitCode, refused.Error.TrimEnd()), Is.EqualTo(
            (1, "1 clients get a new secret. Say where these are written, in a file that only you can read: --secrets-file PATH")));
        Assert.That(await CountAsync(), Is.Zero);
    }

    private async Task IsRefusedAsync(string message)
    {
        var refused = await ImportAsync("csv", Written("client_id\nnew\n"), "--apply", "--secrets-file", SecretsFile);
        Assert.That(refused.ExitCode, Is.EqualTo(1));
        Assert.That(refused.Error, Does.Contain(message));
        Assert.That(await CountAsync(), Is.Zero);
    }

    private async Task EachHasTheSecretOfTheFileAsync()
    {
        var secrets = NewSecrets();
        Assert.That(secrets, Has.Count.EqualTo(Count));
        Assert.That(
            await Database.ReadAsync<string>("select string_agg(client_id || id, ',' order by client_id collate \"C\") from "
                + "token_service.client_secret"),
            Is.EqualTo(string.Join(
                ',', secrets.OrderBy(each => each.Key, StringComparer.Ordinal).Select(each => each.Key + each.Value[5..17]))));
        await using var server = await TestServer.StartAsync(Database);
        foreach (var (id, secret) in secrets.Take(3))
            (await TokenRequestBuilder.For(new(id, secret)).SendAsync(server)).IsGrant("a");
    }

    private Task<int> CountAsync() => Database.ReadAsync<int>("select count(*) from token_service.client");

    // Each hash takes long enough that the import is still at work when the test ends it. A shell starts what runs in its
    // background with SIGINT ignored, and children inherit that, so the import is given the default back.
    private Process Start(string file)
    {
        var start = new ProcessStartInfo(
            "env",
            [
                "--default-signal=INT", .. Tool.Command,
                "import", "--from", "csv", file, "--apply", "--cores", "1", "--secrets-file", SecretsFile,
            ])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in Environment(memoryKiB: 65536))
            start.Environment[name] = value;
        return Process.Start(start)!;
    }
}
