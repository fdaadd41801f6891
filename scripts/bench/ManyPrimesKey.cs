using System.Buffers.Text;
using System.Numerics;
using System.Security.Cryptography;

namespace TokenService.Bench;

/// <summary>
/// Makes valid RSA keys of 4096 bits, each in about a millisecond: the modulus is the product of 32 primes of 128 bits. A
/// server cannot tell them from others, and verifying costs it as much. The exponent is the costliest that is accepted.
/// They protect nothing, because anybody can find the primes.
/// </summary>
internal static class ManyPrimesKey
{
    private const int PrimeBits = 128;
    private const int Primes = 32;
    private const int ModulusBits = PrimeBits * Primes;
    private const int HashLength = 32;

    // The largest prime below 2^32.
    private static readonly BigInteger Exponent = 4_294_967_291;

    private static readonly BigInteger[] Pool = [.. Enumerable.Range(0, Primes + 8).Select(_ => NewPrime())];

    public static SigningKey Create()
    {
        var primes = Pool.OrderBy(_ => Random.Shared.Next()).Take(Primes).ToArray();
        var modulus = primes.Aggregate(BigInteger.Multiply);
        return new SigningKey(
            "PS256", SigningKey.RsaJwk(Encode(modulus), Encode(Exponent)), input => Sign(SHA256.HashData(input), modulus, primes));
    }

    // The Chinese remainder theorem puts the roots modulo each prime together.
    private static byte[] Sign(byte[] hash, BigInteger modulus, BigInteger[] primes)
    {
        var message = new BigInteger(Encoded(hash), isUnsigned: true, isBigEndian: true);
        var root = BigInteger.Zero;
        foreach (var prime in primes)
        {
            // The inverse of e modulo p - 1 is (1 + k (p - 1)) / e, where k is the inverse of 1 - p modulo e, which is prime.
            var k = BigInteger.ModPow(Exponent - ((prime - 1) % Exponent), Exponent - 2, Exponent);
            var ownRoot = BigInteger.ModPow(message % prime, (1 + (k * (prime - 1))) / Exponent, prime);
            var others = modulus / prime;
            root += others * (ownRoot * BigInteger.ModPow(others % prime, prime - 2, prime) % prime);
        }

        var signature = (root % modulus).ToByteArray(isUnsigned: true, isBigEndian: true);
        return [.. new byte[(ModulusBits / 8) - signature.Length], .. signature];
    }

    // RFC 8017 §9.1.1, with a salt as long as the hash.
    private static byte[] Encoded(byte[] hash)
    {
        var salt = RandomNumberGenerator.GetBytes(HashLength);
        var h = SHA256.HashData([.. new byte[8], .. hash, .. salt]);
        var db = new byte[(ModulusBits / 8) - HashLength - 1];
        db[^(HashLength + 1)] = 1;
        salt.CopyTo(db, db.Length - HashLength);
        for (var (i, counter) = (0, (byte)0); i < db.Length; counter++)
        {
            foreach (var mask in SHA256.HashData([.. h, 0, 0, 0, counter]).Take(db.Length - i))
                db[i++] ^= mask;
        }

        db[0] &= 0x7F; // one bit less than the modulus
        return [.. db, .. h, 0xBC];
    }

    // Near enough to 2^128 that the product of 32 has 4096 bits. Its p - 1 is no multiple of the exponent.
    private static BigInteger NewPrime()
    {
        while (true)
        {
            var bytes = RandomNumberGenerator.GetBytes(PrimeBits / 8);
            bytes[0] |= 0xFC;
            bytes[^1] |= 1;
            var candidate = new BigInteger(bytes, isUnsigned: true, isBigEndian: true);
            if (candidate % Exponent != 1 && Enumerable.Range(0, 16).All(_ => IsPerhapsPrime(candidate)))
                return candidate;
        }
    }

    // Fermat's test. A composite number passes it sixteen times so seldom that no run meets one.
    private static bool IsPerhapsPrime(BigInteger candidate)
    {
        var witness = new BigInteger(RandomNumberGenerator.GetBytes(15), isUnsigned: true) + 2;
        return BigInteger.ModPow(witness, candidate - 1, candidate).IsOne;
    }

    private static string Encode(BigInteger number) => Base64Url.EncodeToString(number.ToByteArray(isUnsigned: true, isBigEndian: true));
}
