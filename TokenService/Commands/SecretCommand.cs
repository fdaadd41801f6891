using System.Text;
using TokenService.Secrets;

namespace TokenService.Commands;

/// <summary>
/// <c>secret new</c> and <c>secret hash</c>: they print, as <c>name=value</c> lines, the values that an admin adds to
/// the database. The admin gives the secret itself to the client only.
/// </summary>
internal static class SecretCommand
{
    // Characters of a secret at least. A secret from another system may not be random, and a shorter one can be
    // guessed.
    private const int MinLength = 16;

    // The console decodes bytes that are not UTF-8 to this character.
    private const char ReplacementCharacter = '\uFFFD';

    public static int New(TextWriter output)
    {
        var secret = GeneratedSecret.Create();
        Print(output, secret.Selector, secret.Value);
        output.WriteLine($"client_secret={secret.Value}");
        return 0;
    }

    public static int Hash(TextReader input, TextWriter output, TextWriter error)
    {
        var secret = ReadSecret(input);
        if (Defect(secret) is { } defect)
        {
            error.WriteLine(defect);
            return 1;
        }

        if (EncodingWarning(secret) is { } warning)
            error.WriteLine(warning);
        var id = GeneratedSecret.TryParse(secret, out var generated) ? generated.Selector : ClientSecret.NewImportedId();
        Print(output, id, secret);
        return 0;
    }

    /// <summary>Reads one line. The newline that echo or a file adds is not part of the secret.</summary>
    public static string ReadSecret(TextReader input) => input.ReadLine() ?? "";

    /// <summary>Why no client can have this secret; null: a client can have it.</summary>
    public static string? Defect(string secret)
    {
        if (secret.Length < MinLength)
            return $"The secret on standard input has fewer than {MinLength} characters. Make one with: TokenService secret new";
        if (secret.Contains(ReplacementCharacter))
            return "The secret on standard input is not UTF-8.";
        if (Encoding.UTF8.GetByteCount(secret) > ClientSecret.MaxLength)
            return $"The secret on standard input has more than {ClientSecret.MaxLength} bytes.";
        if (GeneratedSecret.HasPrefix(secret) && !GeneratedSecret.TryParse(secret, out _))
            return "The secret on standard input looks like one of TokenService, but its checksum is wrong. Was it cut or mistyped?";
        return null;
    }

    /// <summary>A warning of a secret that some clients send wrongly; null: there is none.</summary>
    public static string? EncodingWarning(string secret) => UnencodedBasic.EffectOn(secret) is { } effect
        ? $"Warning: the secret has + or %. {effect}. Allow such a client client_secret_post, or give it the secret with %25 for % "
            + "and %2B for +."
        : null;

    private static void Print(TextWriter output, string id, string secret)
    {
        using var services = CommandHost.Build();
        // Hashing may throw, so it comes before the first line of output.
        var digest = services.Digest(secret);
        output.WriteLine($"secret_id={id}");
        output.WriteLine($"digest={digest}");
    }
}
