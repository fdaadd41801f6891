using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using TokenService.Configuration;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>
/// Argon2id comes from libsodium or from the package Konscious. Both compute the same digests, so a server may change
/// from one to the other.
/// </summary>
[TestFixture]
public sealed class Argon2Libraries
{
    private const string NotInstalled =
        "libsodium is not installed. Debian: apt-get install libsodium23; Alpine: apk add libsodium; "
        + "Red Hat: dnf install libsodium; macOS: brew install libsodium.";

    private const string WrongDigests = "The libsodium on this machine computes wrong digests. Install another version of it.";

    private const string OrAuto = " Or set Hashing:Library=Auto, which then uses the package Konscious.";

    private const string ByLibsodium = "Secrets are hashed by libsodium";

    private const string ByKonscious = "Secrets are hashed by the package Konscious, because Hashing:Library says so";

    private const string Saves =
        " With libsodium, the first use of a secret would take about 19 ms of processor time instead of 56, and would not leave "
        + "20 MB of garbage. Restart the server after installing it";

    private const string Imported = "a secret of another system: Œuvre, 鍵, 🔑";

    // Costs from all over the bounds, but few that take a second.
    private static readonly Gen<Argon2Cost> Costs = Gen.OneOf(
        from memory in Gen.Choose(Argon2Cost.MinMemoryKiB, 2 * Argon2Cost.MinMemoryKiB)
        from iterations in Gen.Choose(Argon2Cost.MinIterations, 3)
        select new Argon2Cost(memory, iterations),
        from memory in Gen.Choose(Argon2Cost.MinMemoryKiB, Argon2Cost.MaxMemoryKiB)
        select new Argon2Cost(memory, Argon2Cost.MinIterations),
        from iterations in Gen.Choose(Argon2Cost.MinIterations, Argon2Cost.MaxIterations)
        select new Argon2Cost(Argon2Cost.MinMemoryKiB, iterations),
        Gen.Elements(new Argon2Cost(19456, 2), new Argon2Cost(Argon2Cost.MaxMemoryKiB, 2), new Argon2Cost(Argon2Cost.MaxMemoryKiB - 1, 1)));

    // 64 and 128 bytes are the sizes of the words and blocks of BLAKE2b, with which Argon2 begins.
    private static readonly Gen<string> Passwords =
        from length in Gen.OneOf(Gen.Choose(0, ClientSecret.MaxLength), Gen.Elements(0, 1, 63, 64, 65, 127, 128, 129, 255, 256))
        from runes in Gen.OneOf(Gen.Choose(0x20, 0x7E), Gen.Choose(0, 0x7FF), Gen.Choose(0x1F300, 0x1F5FF)).ArrayOf(length)
        select Shortened(string.Concat(runes.Select(rune => new Rune(rune))));

    private static LibsodiumArgon2id Libsodium()
    {
        try
        {
            return LibsodiumArgon2id.Load();
        }
        catch (OperatorException e)
        {
            const string skipped = "SKIPPED: nothing compares the two implementations of Argon2id on this machine. ";
            TestContext.Error.WriteLine(skipped + e.Message);
            Assert.Ignore(skipped + e.Message);
            throw;
        }
    }

    [Test]
    public void Both_compute_the_same_digests()
    {
        var (libsodium, konscious) = (Hasher(Libsodium()), SecretHasher.Start(HashingLibrary.Konscious, NullLogger.Instance));
        var examples =
            from password in Passwords
            from cost in Costs
            select (password, cost);

        Prop.ForAll(examples.ToArbitrary(), example => Agree(example.password, example.cost))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(40));

        // Each digest has a random salt.
        bool Agree(string password, Argon2Cost cost) => password.Length == 0
            ? libsodium.Matches(password, Any(cost)) is false && konscious.Matches(password, Any(cost)) is false
            : konscious.Matches(password, libsodium.Hash(password, cost)!) is true
                && libsodium.Matches(password, konscious.Hash(password, cost)!) is true
                && konscious.Matches(password + "x", libsodium.Hash(password, cost)!) is false;
    }

    [TestCase(nameof(HashingLibrary.Auto))]
    [TestCase(nameof(HashingLibrary.Libsodium))]
    [TestCase(nameof(HashingLibrary.Konscious))]
    public void Each_gives_the_answer_of_the_reference_implementation(string library)
    {
        if (library == nameof(HashingLibrary.Libsodium))
            Libsodium();
        var digest = new Argon2Digest(
            new Argon2Cost(MemoryKiB: 19456, Iterations: 2),
            "somesaltsomesalt"u8.ToArray(),
            Convert.FromHexString("2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1"));

        var hasher = SecretHasher.Start(Enum.Parse<HashingLibrary>(library), NullLogger.Instance);
        Assert.That(
            (hasher.Matches("password", digest), hasher.Matches("Password", digest), hasher.Matches("", digest)),
            Is.EqualTo((true, false, false)));
    }

    [Test]
    public void Without_libsodium_the_package_is_used_and_the_log_says_what_libsodium_would_save() =>
        Assert.That(
            Chosen(HashingLibrary.Auto, () => LibsodiumArgon2id.Load(["libthere-is-no-such-library.so"])),
            Is.EqualTo($"Secrets are hashed by the package Konscious: {NotInstalled}{Saves}"));

    [Test]
    public void A_library_that_lacks_the_functions_of_libsodium_is_none() =>
        Assert.That(
            () => LibsodiumArgon2id.Load(["libc.so.6", "libSystem.dylib"]),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(NotInstalled));

    [Test]
    public void A_libsodium_that_computes_wrong_digests_is_not_used() =>
        Assert.That(
            Chosen(HashingLibrary.Auto, () => new Miscalculating()),
            Is.EqualTo($"Secrets are hashed by the package Konscious: {WrongDigests}{Saves}"));

    [Test]
    public void When_the_setting_asks_for_libsodium_nothing_starts_without_it()
    {
        Refuses(() => LibsodiumArgon2id.Load([]), NotInstalled + OrAuto);
        Refuses(() => new Miscalculating(), WrongDigests + OrAuto);

        static void Refuses(Func<IArgon2id> load, string message) => Assert.That(
            () => SecretHasher.Start(HashingLibrary.Libsodium, load, NullLogger.Instance),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(message));
    }

    [TestCase(nameof(HashingLibrary.Auto), null)]
    [TestCase(nameof(HashingLibrary.Libsodium), ByLibsodium)]
    [TestCase(nameof(HashingLibrary.Konscious), ByKonscious)]
    public async Task A_server_grants_tokens_with_each_setting_and_says_once_what_hashes(string library, string? line)
    {
        if (library == nameof(HashingLibrary.Libsodium))
            Libsodium();
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(database, $"Hashing:Library={library}");

        await VerifiesSecretsAsync(database, server);
        Assert.That(
            server.Log.Lines.Where(text => text.Contains("hashed by", StringComparison.Ordinal)).Select(MessageOf),
            line is null ? Has.One.Items : Is.EqualTo(new[] { line }));
    }

    // The package computes on the thread pool, which the requests need too.
    [Test]
    public void The_thread_pool_has_a_thread_more_for_each_thread_that_hashes_with_the_package()
    {
        ThreadPool.GetMinThreads(out var before, out _);
        var count = before - Environment.ProcessorCount + 1;
        var hasher = SecretHasher.Start(HashingLibrary.Konscious, NullLogger.Instance);
        using var hashing = new HashingQueue(hasher, new HashingOptions(), count, new WorkersClock());
        ThreadPool.GetMinThreads(out var after, out _);
        Assert.That(after, Is.GreaterThan(before));
    }

    [Test]
    public async Task A_server_without_libsodium_grants_tokens_and_says_once_what_it_would_save()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton(provider => SecretHasher.Start(
                HashingLibrary.Auto, () => LibsodiumArgon2id.Load([]), provider.GetRequiredService<ILogger<SecretHasher>>())));

        await VerifiesSecretsAsync(database, server);
        Assert.That(
            server.Log.Lines.Where(text => text.Contains("hashed by", StringComparison.Ordinal)).Select(MessageOf),
            Is.EqualTo(new[] { $"Secrets are hashed by the package Konscious: {NotInstalled}{Saves}" }));
    }

    // The digests were made by the library that this machine has.
    private static async Task VerifiesSecretsAsync(Database database, TestServer server)
    {
        var client = await database.CreateClientAsync("billing");
        await database.AddSecretAsync(client.Id, Imported);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(client with { Secret = Imported }).SendAsync(server)).IsGrant("invoices:read");
        string[] wrongs = [Imported + "x", "", new('x', ClientSecret.MaxLength), new('x', ClientSecret.MaxLength + 1)];
        foreach (var wrong in wrongs)
            (await TokenRequestBuilder.For(client with { Secret = wrong }).SendAsync(server)).IsInvalidClient();
    }

    // The one line that the choice logs.
    private static string Chosen(HashingLibrary library, Func<IArgon2id> loadLibsodium)
    {
        using var log = new CapturedLog();
        var hasher = SecretHasher.Start(library, loadLibsodium, log.CreateLogger("choice"));
        Assert.That(hasher.Matches(Imported, Run.Hasher.Hash(Imported, Database.Cheap)!), Is.True);
        return MessageOf(log.Lines.Single());
    }

    // CapturedLog writes "Level Category: message name=value ...".
    private static string MessageOf(string line)
    {
        var message = line[(line.IndexOf(": ", StringComparison.Ordinal) + 2)..];
        return message[..message.IndexOf(" [", StringComparison.Ordinal)];
    }

    private static SecretHasher Hasher(IArgon2id libsodium) =>
        SecretHasher.Start(HashingLibrary.Libsodium, () => libsodium, NullLogger.Instance);

    private static Argon2Digest Any(Argon2Cost cost) => new(cost, new byte[Argon2Digest.SaltLength], new byte[Argon2Digest.HashLength]);

    // The longest beginning that a secret may have.
    private static string Shortened(string password)
    {
        var runes = password.EnumerateRunes().ToList();
        while (runes.Sum(rune => rune.Utf8SequenceLength) > ClientSecret.MaxLength)
            runes.RemoveAt(runes.Count - 1);
        return string.Concat(runes);
    }

    private sealed class Miscalculating : IArgon2id
    {
        public bool TryDerive(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, Argon2Cost cost, Span<byte> hash)
        {
            hash.Fill(0x2b);
            return true;
        }
    }
}
