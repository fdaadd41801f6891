using System.Runtime.Versioning;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using TokenService.Audit;
using TokenService.Configuration;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>
/// <c>Events:File</c>: it is opened once, and a log rotation may move, remove or empty it while the server runs.
/// </summary>
[TestFixture]
public sealed class EventFiles
{
    private Database database = null!;
    private TestClient client = null!;
    private string directory = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
    }

    [OneTimeTearDown]
    public async Task DropDatabase() => await (database?.DisposeAsync() ?? ValueTask.CompletedTask);

    [SetUp]
    public void CreateDirectory() => directory = Directory.CreateTempSubdirectory("events").FullName;

    [TearDown]
    public void DeleteDirectory() => Directory.Delete(directory, recursive: true);

    [Test, UnsupportedOSPlatform("windows")]
    public async Task A_file_that_the_server_creates_is_for_its_user_alone()
    {
        var file = NewFile();
        await using var server = await StartAsync(file);
        Assert.That(File.GetUnixFileMode(file), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public async Task Events_are_appended_to_the_file()
    {
        var file = NewFile();
        await File.WriteAllTextAsync(file, "what was there before\n");
        string first, second;
        await using (var server = await StartAsync(file))
        {
            first = (await TokenRequestBuilder.For(client).SendAsync(server)).EventId;
            await server.StopAsync();
        }

        await using (var server = await StartAsync(file))
        {
            second = (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(server)).EventId;
            await server.StopAsync();
        }

        var lines = await File.ReadAllLinesAsync(file);
        Assert.That(lines[0], Is.EqualTo("what was there before"));
        Assert.That(lines[1..].Select(CapturedEvents.IdOf), Is.EqualTo([first, second]));
    }

    [TestCase("/nowhere/events.log")]
    [TestCase("/")]
    public async Task A_file_that_cannot_be_appended_to_keeps_the_server_from_starting(string file) => await Assert.ThatAsync(
        async () => await StartAsync(file),
        Throws.InstanceOf<OperatorException>().With.Message.StartsWith("Events:File cannot be appended to: "));

    // logrotate with copytruncate empties the file in place.
    [Test]
    public async Task A_file_that_is_emptied_is_written_from_its_start()
    {
        var file = NewFile();
        string second;
        await using (var server = await StartAsync(file))
        {
            var first = (await TokenRequestBuilder.For(client).SendAsync(server)).EventId;
            await IsWrittenAsync(first, file);
            await File.WriteAllTextAsync(file, "");
            second = (await TokenRequestBuilder.For(client).SendAsync(server)).EventId;
            await server.StopAsync();
        }

        Assert.That((await File.ReadAllLinesAsync(file)).Select(CapturedEvents.IdOf), Is.EqualTo([second]));
    }

    // logrotate without copytruncate moves the file away.
    [Test]
    public async Task A_file_that_is_moved_away_is_created_again()
    {
        var file = NewFile();
        var moved = file + ".1";
        string first, second;
        await using (var server = await StartAsync(file))
        {
            first = (await TokenRequestBuilder.For(client).SendAsync(server)).EventId;
            await IsWrittenAsync(first, file);
            File.Move(file, moved);
            second = (await TokenRequestBuilder.For(client).SendAsync(server)).EventId;
            await server.StopAsync();
        }

        Assert.That((await File.ReadAllLinesAsync(moved)).Select(CapturedEvents.IdOf), Is.EqualTo([first]));
        Assert.That((await File.ReadAllLinesAsync(file)).Select(CapturedEvents.IdOf), Is.EqualTo([second]));
    }

    [Test]
    public async Task A_file_that_is_removed_is_created_again()
    {
        var file = NewFile();
        await using var server = await StartAsync(file);
        await IsWrittenAsync(await AskAsync(server), file);
        File.Delete(file);
        var second = await AskAsync(server);
        await IsWrittenAsync(second, file);
        Assert.That((await File.ReadAllLinesAsync(file)).Select(CapturedEvents.IdOf), Is.EqualTo([second]));
    }

    [Test]
    public async Task A_file_that_is_moved_and_created_by_the_log_rotation_is_opened_again()
    {
        var file = NewFile();
        await using var server = await StartAsync(file);
        var first = await AskAsync(server);
        await IsWrittenAsync(first, file);
        File.Move(file, file + ".1");
        await File.WriteAllTextAsync(file, "");
        var second = await AskAsync(server);
        await IsWrittenAsync(second, file);
        Assert.That((await File.ReadAllLinesAsync(file + ".1")).Select(CapturedEvents.IdOf), Is.EqualTo([first]));
    }

    [Test]
    public async Task A_link_is_followed_to_the_file_that_it_names_at_the_time()
    {
        var (link, first, second) = (NewFile(), NewFile() + ".1", NewFile() + ".2");
        File.CreateSymbolicLink(link, first);
        await using var server = await StartAsync(link);
        await IsWrittenAsync(await AskAsync(server), first);
        File.Delete(link);
        File.CreateSymbolicLink(link, second);
        await IsWrittenAsync(await AskAsync(server), second);
    }

    // A directory that is gone is one reason why a file cannot be opened. A process without a free descriptor is
    // another.
    [Test]
    public async Task A_file_that_was_moved_and_cannot_be_opened_again_is_still_written_and_logged_once()
    {
        Directory.CreateDirectory(Path.Combine(directory, "before"));
        var file = Path.Combine(directory, "before", "events.log");
        var moved = Path.Combine(directory, "after", "events.log");
        await using var server = await StartAsync(file);
        Directory.Move(Path.Combine(directory, "before"), Path.Combine(directory, "after"));
        var first = await AskAsync(server);
        await IsWrittenAsync(first, moved);
        var second = await AskAsync(server);
        await IsWrittenAsync(second, moved);
        Assert.That(server.Log.Lines.Count(line => line.StartsWith(
            $"Warning TokenService.Audit.EventOutput: {file} was moved or removed, and cannot be opened again: ",
            StringComparison.Ordinal)), Is.EqualTo(1));

        Directory.CreateDirectory(Path.Combine(directory, "before"));
        await IsWrittenAsync(await AskAsync(server), file);
        Assert.That((await File.ReadAllLinesAsync(moved)).Select(CapturedEvents.IdOf), Is.EqualTo([first, second]));
    }

    [Test]
    public async Task Several_servers_append_to_one_file()
    {
        var file = NewFile();
        await using var one = await StartAsync(file);
        await using var other = await StartAsync(file);
        var expected = new List<string>();
        foreach (var server in (TestServer[])[one, other, one, one, other])
        {
            expected.Add(await AskAsync(server));
            await IsWrittenAsync(expected[^1], file);
        }

        Assert.That((await File.ReadAllLinesAsync(file)).Select(CapturedEvents.IdOf), Is.EqualTo(expected));
    }

    [Test, SupportedOSPlatform("linux")]
    public async Task A_process_without_a_free_file_descriptor_still_writes_its_events()
    {
        var (file, log) = (NewFile(), Path.Combine(directory, "log"));
        await using var server = await ServerProcess.StartAsync(
            database, "exec \"$@\" 2> \"$log\"", log, $"Events:File={file}");
        var ids = new List<string> { await AskAsync(server) };
        await IsWrittenAsync(ids[0], file);

        await server.LimitAsync("--nofile=3");
        ids.Add(await AskAsync(server));
        await IsWrittenAsync(ids[1], file);
        File.Move(file, file + ".1");
        ids.Add(await AskAsync(server));
        await IsWrittenAsync(ids[2], file + ".1");
        await Soon.IsAsync("the warning is logged", () => File.ReadAllText(log).Contains(
            $"{file} was moved or removed, and cannot be opened again: ", StringComparison.Ordinal));

        await server.LimitAsync("--nofile=1024");
        var last = await AskAsync(server);
        await IsWrittenAsync(last, file);
        Assert.That((await File.ReadAllLinesAsync(file + ".1")).Select(CapturedEvents.IdOf), Is.EqualTo(ids));
        Assert.That((await File.ReadAllLinesAsync(file)).Select(CapturedEvents.IdOf), Is.EqualTo([last]));
    }

    private string NewFile() => Path.Combine(directory, "events.log");

    private Task<TestServer> StartAsync(string file) => TestServer.StartAsync(
        database.ConnectionString, new FakeClock(),
        services => services.AddSingleton(provider => EventOutput.Of(
            provider.GetRequiredService<IOptions<EventLogOptions>>(), provider.GetRequiredService<ILogger<EventOutput>>())),
        $"Events:File={file}");

    private Task<string> AskAsync(TestServer server) => AskAsync(server.Client);

    private Task<string> AskAsync(ServerProcess server) => AskAsync(server.Client);

    private async Task<string> AskAsync(HttpClient server)
    {
        var answer = await TokenRequestBuilder.For(client).SendAsync(server);
        answer.IsGrant("invoices:read");
        return answer.EventId;
    }

    private static Task IsWrittenAsync(string id, string file) => Soon.IsAsync(
        $"{id} is written", () => File.Exists(file) && File.ReadAllText(file).Contains(id, StringComparison.Ordinal));
}
