using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using TokenService.Configuration;

namespace TokenService.Commands;

/// <summary>
/// <c>client-key new</c>: makes the key pair of a client that authenticates by <c>private_key_jwt</c> (RFC 7523). The
/// private half goes into a file of the client's, the public half to the screen. It needs no settings and no database.
/// </summary>
internal static class ClientKeyCommand
{
    private const string DefaultAlgorithm = "ES256";
    private const int RsaBits = 3072;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    // JSON's own escapes are enough: nothing here ends up in HTML.
    private static readonly JsonWriterOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static int New(string[] arguments, TextWriter output, TextWriter error)
    {
        if (Options.Read(arguments) is not { } options)
            return Usage.Print(error);

        using var pair = Create(options.Algorithm);
        var members = pair is RSA rsa ? Members(rsa) : Members((ECDsa)pair);
        Member[] publicMembers = [.. members.Where(member => member.IsPublic)];
        var kid = options.Kid ?? Thumbprint(publicMembers);
        if (!IsKid(kid))
            throw new OperatorException("The kid is not 1 to 128 printable ASCII characters without space, quotation marks, ` and \\.");

        WriteNew(options.File, options.File.EndsWith(".pem", StringComparison.Ordinal)
            ? pair.ExportPkcs8PrivateKeyPem() + "\n"
            : Jwk(members, options.Algorithm, kid) + "\n");

        var publicJwk = Jwk(publicMembers, options.Algorithm, kid);
        output.WriteLine($"kid={kid}");
        output.WriteLine($"alg={options.Algorithm}");
        output.WriteLine($"public_jwk={publicJwk}");
        error.WriteLine($"# An admin adds it with: psql -v client_id=… -v public_jwk='{publicJwk}' -f scripts/add-key.sql");
        return 0;
    }

    private static AsymmetricAlgorithm Create(string algorithm) => algorithm switch
    {
        "ES256" => ECDsa.Create(ECCurve.NamedCurves.nistP256),
        "ES384" => ECDsa.Create(ECCurve.NamedCurves.nistP384),
        "PS256" or "RS256" => RSA.Create(RsaBits),
        // .NET has no Ed25519.
        "Ed25519" or "EdDSA" => throw new OperatorException(
            "This command makes no Ed25519 keys. Use another tool, such as: openssl genpkey -algorithm ed25519"),
        _ => throw new OperatorException("The algorithm is none of ES256, ES384, PS256 and RS256."),
    };

    // RFC 7518 §6.2. The public members are in the order of RFC 7638 §3.2, for the thumbprint.
    private static Member[] Members(ECDsa pair)
    {
        var key = pair.ExportParameters(includePrivateParameters: true);
        return
        [
            new("crv", key.Q.X!.Length == 32 ? "P-256" : "P-384"), new("kty", "EC"), new("x", key.Q.X), new("y", key.Q.Y!),
            new("d", key.D!, IsPublic: false),
        ];
    }

    // RFC 7518 §6.3. The public members are in the order of RFC 7638 §3.2, for the thumbprint.
    private static Member[] Members(RSA pair)
    {
        var key = pair.ExportParameters(includePrivateParameters: true);
        return
        [
            new("e", key.Exponent!), new("kty", "RSA"), new("n", key.Modulus!), new("d", key.D!, IsPublic: false),
            new("p", key.P!, IsPublic: false), new("q", key.Q!, IsPublic: false), new("dp", key.DP!, IsPublic: false),
            new("dq", key.DQ!, IsPublic: false), new("qi", key.InverseQ!, IsPublic: false),
        ];
    }

    // RFC 7638 §3: over the public members alone, without white space.
    private static string Thumbprint(Member[] members) => Base64Url.EncodeToString(SHA256.HashData(Json(members)));

    private static string Jwk(Member[] members, string algorithm, string kid) =>
        Encoding.UTF8.GetString(Json([.. members, new("alg", algorithm), new("kid", kid), new("use", "sig")]));

    private static byte[] Json(Member[] members)
    {
        using var json = new MemoryStream();
        using (var writer = new Utf8JsonWriter(json, Readable))
        {
            writer.WriteStartObject();
            foreach (var (name, value, _) in members)
                writer.WriteString(name, value);
            writer.WriteEndObject();
        }

        return json.ToArray();
    }

    // The grammar is_client_kid of the database.
    private static bool IsKid(string kid) =>
        kid.Length is >= 1 and <= 128
        && kid.All(c => c is > ' ' and < '\x7F' and not ('"' or '\'' or '`' or '\\'))
        && !kid.StartsWith("tsvc_", StringComparison.Ordinal);

    // A private key that is overwritten is lost, and one that others may read for a moment is leaked. CreateNew follows no
    // symbolic link.
    private static void WriteNew(string path, string text)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Share = FileShare.None };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = OwnerOnly;
        try
        {
            using var file = new FileStream(path, options);
            file.Write(Encoding.ASCII.GetBytes(text));
            file.Flush(flushToDisk: true);
        }
        catch (IOException) when (Path.Exists(path))
        {
            throw new OperatorException($"{path} exists. Name a new file: a private key is never overwritten.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new OperatorException($"{path} cannot be written: {e.Message}");
        }
    }

    private sealed record Member(string Name, string Value, bool IsPublic = true)
    {
        public Member(string name, byte[] number, bool IsPublic = true)
            : this(name, Base64Url.EncodeToString(number), IsPublic)
        {
        }
    }

    private sealed record Options(string Algorithm, string? Kid, string File)
    {
        /// <summary>Null: the command line is wrong.</summary>
        public static Options? Read(string[] arguments) => arguments switch
        {
            ["--alg", var algorithm, .. var rest] when Read(rest) is { } others => others with { Algorithm = algorithm },
            ["--kid", var kid, .. var rest] when Read(rest) is { } others => others with { Kid = kid },
            [{ Length: > 0 } file] when file[0] != '-' => new Options(DefaultAlgorithm, null, file),
            _ => null,
        };
    }
}
