using System.Diagnostics;
using System.Security.Cryptography;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Secrets;

namespace TokenService.Bench;

/// <summary>
/// Measures the cryptography without a server, on one thread, and prints operations per second of the clock and per
/// second of processor time.
/// </summary>
internal static class RawCrypto
{
    /// <summary>About the length of a token's header and payload, in bytes.</summary>
    private const int SignedBytes = 420;

    /// <summary>The S of the ceiling: signatures with a key pair such as the server makes.</summary>
    public static int Sign(string algorithm, double seconds)
    {
        using var pair = SignatureAlgorithm.Of(algorithm).CreatePair(new KeyOptions().RsaKeySize);
        var message = RandomNumberGenerator.GetBytes(SignedBytes);
        var signature = new byte[1024];
        Report(seconds, pair switch
        {
            ECDsa ec => () => ec.TrySignData(message, signature, HashAlgorithmName.SHA256, out _),
            RSA rsa => () => rsa.TrySignData(message, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1, out _),
            _ => throw new NotSupportedException(),
        });
        return 0;
    }

    /// <summary>Verifications of a client's signature, as an assertion or a DPoP proof needs one.</summary>
    public static int Verify(string algorithm, double seconds)
    {
        var signatures = SignatureAlgorithm.Of(algorithm);
        using var pair = signatures.CreatePair(SigningKey.RsaBits);
        var message = RandomNumberGenerator.GetBytes(SignedBytes);
        var signature = new byte[signatures.SignatureLength(pair)];
        signatures.Sign(pair, message, signature);
        Report(seconds, () => signatures.Verifies(pair, message, signature));
        return 0;
    }

    /// <summary>Hashes with the server's Argon2id library at its default cost.</summary>
    public static int Hash(double seconds)
    {
        Report(seconds, () => Workload.Hasher.Hash("a secret of this measurement", new HashingOptions().Cost));
        return 0;
    }

    private static void Report(double seconds, Action work)
    {
        Repeat(TimeSpan.FromSeconds(0.2), work); // warms up
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
