using System.Globalization;
using System.Runtime.Versioning;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>The policy by which Linux schedules the threads that answer requests (sched(7)).</summary>
[TestFixture, SupportedOSPlatform("linux")]
public sealed class Scheduling
{
    private const int Batch = 3; // SCHED_BATCH
    private const int Idle = 5; // SCHED_IDLE

    private static readonly string[] Answering = [".NET Sockets", ".NET TP Worker", "events"];

    private Database database = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase() => database = await Database.CreateAsync();

    [OneTimeTearDown]
    public async Task DropDatabase() => await (database?.DisposeAsync() ?? ValueTask.CompletedTask);

    [TestCase("""exec "$@" > "$log" 2>&1""", Batch, TestName = "A_thread_that_wakes_up_does_not_interrupt_a_request")]
    [TestCase("""exec chrt --idle 0 "$@" > "$log" 2>&1""", Idle, TestName = "The_policy_that_an_operator_chose_is_kept")]
    public async Task Policy(string script, int policy)
    {
        var log = Path.GetTempFileName();
        try
        {
            File.Delete(log);
            await using var server = await ServerProcess.StartAsync(database, script, log);
            (await server.Client.GetAsync(new Uri("/healthz/live", UriKind.Relative))).EnsureSuccessStatusCode();
            var threads = ThreadsOf(server.Id).Where(thread => Answering.Contains(thread.Name)).ToList();
            using (Assert.EnterMultipleScope())
            {
                Assert.That(threads.Select(thread => thread.Name).Distinct(), Is.EquivalentTo(Answering));
                Assert.That(threads.Select(thread => thread.Policy), Is.All.EqualTo(policy));
            }
        }
        finally
        {
            File.Delete(log);
        }
    }

    // proc(5): in stat the name is in parentheses, and the policy is the 39th field after it.
    private static IEnumerable<(string Name, int Policy)> ThreadsOf(int process) =>
        Directory.GetDirectories($"/proc/{process}/task")
            .Select(thread => File.ReadAllText(Path.Combine(thread, "stat")))
            .Select(stat => (
                stat[(stat.IndexOf('(', StringComparison.Ordinal) + 1)..stat.LastIndexOf(')')],
                int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[38], CultureInfo.InvariantCulture)));
}
