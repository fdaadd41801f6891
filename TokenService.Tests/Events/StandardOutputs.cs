using System.Net;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using TokenService.Audit;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>Events on standard output, which the server shares with other programs and with its own log.</summary>
[TestFixture, UnsupportedOSPlatform("windows")]
public sealed class StandardOutputs
{
    private Database database = null!;
    private TestClient client = null!;
    private string directory = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        directory = Directory.CreateTempSubdirectory("events").FullName;
    }

    [OneTimeTearDown]
    public async Task DropDatabase()
    {
        Directory.Delete(directory, recursive: true);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    // Debug makes many log lines, some of them long.
    [Test]
    public async Task Events_and_the_log_share_a_file_with_programs_that_ran_before_and_run_afterwards()
    {
        const string script = """
            {
                echo '"before"'
                "$@" &
                trap 'kill -TERM $!' TERM
                wait
                wait
                echo '"after"'
            } > "$log" 2>&1
            """;
        var file = Path.Combine(directory, "all.log");
        var ids = new List<string>();
        await using (var server = await ServerProcess.StartAsync(database, script, file, "Logging:LogLevel:Default=Debug",
            "Logging:LogLevel:Microsoft.AspNetCore=Debug"))
        {
            for (var i = 0; i < 20; i++)
            {
                var answers = await Task.WhenAll(
                    Enumerable.Range(0, 10).Select(_ => TokenRequestBuilder.For(client).SendAsync(server.Client)));
                ids.AddRange(answers.Select(answer => answer.EventId));
            }

            await server.StopAsync();
        }

        var lines = (await File.ReadAllLinesAsync(file)).Select(line => JsonElement.Parse(line)).ToList();
        var objects = lines[1..^1].ToLookup(line => line.TryGetProperty("request_id", out _));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(lines[0].GetString(), Is.EqualTo("before"));
            Assert.That(lines[^1].GetString(), Is.EqualTo("after"));
            Assert.That(objects[true].Select(line => line.GetProperty("jti").GetString()), Is.EquivalentTo(ids));
            Assert.That(objects[false].Count(), Is.GreaterThan(ids.Count));
        }
    }

    [Test]
    public void A_line_of_the_log_is_one_write()
    {
        using var stream = new CountingStream();
        using var log = Server.NewLogWriter(stream);
        log.Write(new string('x', 20_000) + '\n');
        Assert.That((stream.Count, stream.Length), Is.EqualTo((1, 20_001)));
    }

    // The program that starts the server may have made its standard output non-blocking. A socket is the same to
    // write(2).
    [Test]
    public async Task A_write_to_a_full_output_that_does_not_block_waits_for_the_reader()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var writer = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await writer.ConnectAsync(listener.LocalEndpoint);
        using var reader = await listener.AcceptSocketAsync();
        writer.Blocking = false;

        var sent = new byte[16 * 1024 * 1024];
        new Random(1).NextBytes(sent);
        var writing = Task.Run(() =>
        {
            using var descriptor = new SafeFileHandle(writer.Handle, ownsHandle: false);
            var written = 0;
            while (written < sent.Length)
                written += SystemCalls.Write(descriptor, sent.AsSpan(written));
        });
        var received = new byte[sent.Length];
        await using var stream = new NetworkStream(reader);
        var reading = stream.ReadExactlyAsync(received).AsTask();
        await await Task.WhenAny(writing, reading);
        await reading;
        Assert.That(received.AsSpan().SequenceEqual(sent));
    }

    private sealed class CountingStream : MemoryStream
    {
        public int Count { get; private set; }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            Count++;
            base.Write(buffer);
        }
    }
}
