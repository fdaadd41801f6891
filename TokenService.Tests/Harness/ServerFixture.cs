namespace TokenService.Tests.Harness;

/// <summary>A fixture with its own database and its own server, which all its tests share.</summary>
public abstract class ServerFixture
{
    private protected Database Database { get; private set; } = null!;

    private protected TestServer Server { get; private set; } = null!;

    /// <summary>A client that may ask for invoices:read, its default, and invoices:write.</summary>
    private protected TestClient Client { get; private set; } = null!;

    private protected virtual string[] Settings => [];

    [OneTimeSetUp]
    public async Task StartServer()
    {
        Database = await Database.CreateAsync();
        Client = await Database.CreateClientAsync("billing");
        Server = await TestServer.StartAsync(Database, Settings);
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        await (Server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (Database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }
}
