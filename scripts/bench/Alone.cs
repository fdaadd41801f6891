using System.Diagnostics;
using System.Security.Cryptography;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Secrets;

namespace TokenService.Bench;

/// <summary>What the cryptography alone does in a second, on one thread: of the clock, and of the processor.</summary>
internal static class Alone
{
    /// <summary>About what a token's header and payload take.</summary>
    private const int SignedBytes = 420;

    /// <summary>The S of the ceiling, with a key pair as the server makes them.</summary>
    public static int Sign(string algorithm, double seconds)
    {
        using var pair = SignatureAlgorithm.Of(algorithm).CreatePair(new KeyOptions().RsaKeySize);
        var message = RandomNumberGenerator.GetBytes(SignedBytes);
        var signature = new byte[1024];
        Print(seconds, pair switch
        {
            ECDsa ec => () => ec.TrySignData(message, signature, HashAlgorithmName.SHA256, out _),
            RSA rsa => () => rsa.TrySignData(message, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1, out _),
            _ => throw new NotSupportedException(),
        });
        return 0;
    }

    /// <summary>The Argon2id library with the server's default cost.</summary>
    public static int Hash(double seconds)
    {
        SecretHasher.Start();
        Print(seconds, () => SecretHasher.Hash("a secret of this measurement", new HashingOptions().Cost));
        return 0;
    }

    private static void Print(double seconds, Action work)
    {
        Repeat(TimeSpan.FromSeconds(0.5), work); // warms up
        var (perSecond, perProcessorSecond) = Repeat(TimeSpan.FromSeconds(seconds), work);
        Console.WriteLine(FormattableString.Invariant($"{perSecond:F1} {perProcessorSecond:F1}"));
    }

    private static (double PerSecond, double PerProcessorSecond) Repeat(TimeSpan time, Action work)
    {
        var (began, used, count) = (Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime, 0);
        do
        {
            work();
            count++;
        }
        while (Stopwatch.GetElapsedTime(began) < time);
        return (count / Stopwatch.GetElapsedTime(began).TotalSeconds, count / (Environment.CpuUsage.TotalTime - used).TotalSeconds);
    }
}
