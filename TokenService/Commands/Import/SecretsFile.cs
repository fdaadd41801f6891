using System.Runtime.Versioning;
using System.Text;
using TokenService.Configuration;
using TokenService.Secrets;

namespace TokenService.Commands;

/// <summary>
/// The file with the new secrets of an import, which nobody else may read. It is never overwritten. A secret is on disk
/// before its client is committed, and an import that is started again takes the secret from here, so a client has the
/// secret that stands here however the import ended.
/// </summary>
internal sealed class SecretsFile : IDisposable
{
    private const string Header = "client_id,client_secret\n";
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly FileStream file;
    private readonly Dictionary<string, GeneratedSecret> secrets = new(StringComparer.Ordinal);

    private SecretsFile(FileStream file) => this.file = file;

    /// <exception cref="OperatorException">It cannot be made, or another file is there.</exception>
    public static SecretsFile Open(string path)
    {
        if (OperatingSystem.IsWindows())
            throw new OperatorException("New secrets are only written where files have Unix permissions.");

        SecretsFile? opened = null;
        // Share = None locks the file, so two imports do not write into it.
        var options = new FileStreamOptions { Access = FileAccess.ReadWrite, Share = FileShare.None, Mode = FileMode.Open };
        if (!Path.Exists(path))
            (options.Mode, options.UnixCreateMode) = (FileMode.CreateNew, OwnerOnly);
        try
        {
            // A symbolic link is not followed when the file is made, and refused when it is there.
            opened = new SecretsFile(new FileStream(path, options));
            if (new FileInfo(path).LinkTarget is not null || !opened.file.CanSeek
                || File.GetUnixFileMode(opened.file.SafeFileHandle) != OwnerOnly)
                throw new OperatorException($"{path} exists, and others may read it. Name another file, or: chmod 600 {path}");
            if (options.Mode == FileMode.Open)
                CheckOwner(path, opened.file);
            opened.ReadOrBegin(path);
            return opened;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            opened?.Dispose();
            throw new OperatorException($"{path} cannot be written: {e.Message}");
        }
        catch
        {
            opened?.Dispose();
            throw;
        }
    }

    // Somebody else could have put secrets of their own into the file. Only the owner may change the mode of a file, and root,
    // who therefore also needs a directory in which nobody else can make files.
    [UnsupportedOSPlatform("windows")]
    private static void CheckOwner(string path, FileStream file)
    {
        const UnixFileMode shared = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;
        File.SetUnixFileMode(file.SafeFileHandle, OwnerOnly);
        if (Environment.IsPrivilegedProcess && (File.GetUnixFileMode(Path.GetDirectoryName(Path.GetFullPath(path))!) & shared) != 0)
        {
            throw new OperatorException(
                $"{path} exists in a directory in which others may make files, so it may not be yours. Move it to one of your own.");
        }
    }

    /// <summary>The secret of a client: the one that the file has, or else a new one.</summary>
    public GeneratedSecret SecretOf(string clientId) => secrets.GetValueOrDefault(clientId) ?? GeneratedSecret.Create();

    /// <summary>Writes secrets that the file does not have yet. When this returns, they are on disk.</summary>
    public void Add(IEnumerable<(string ClientId, GeneratedSecret Secret)> added)
    {
        var lines = new StringBuilder();
        foreach (var (clientId, secret) in added.Where(each => secrets.TryAdd(each.ClientId, each.Secret)))
            lines.Append(Csv.Quoted(clientId)).Append(',').Append(secret.Value).Append('\n');
        if (lines.Length == 0)
            return;
        file.Write(Encoding.UTF8.GetBytes(lines.ToString()));
        file.Flush(flushToDisk: true);
    }

    public void Dispose() => file.Dispose();

    private void ReadOrBegin(string path)
    {
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        var text = Encoding.UTF8.GetString(bytes);
        // An import that was killed may leave half a line, or half the header.
        text = text[..(text.LastIndexOf('\n') + 1)];
        if (text.Length == 0 && Header.StartsWith(Encoding.UTF8.GetString(bytes), StringComparison.Ordinal))
            text = Header;
        if (!text.StartsWith(Header, StringComparison.Ordinal))
            throw new OperatorException($"{path} exists, and is not a file of new secrets of an import. It was left as it is.");

        foreach (var row in Csv.Read(text).Skip(1))
        {
            if (row.Fields is not [var clientId, var value] || !GeneratedSecret.TryParse(value, out var secret))
                throw new OperatorException($"Line {row.Line} of {path} is not a client_id and a secret. The file was left as it is.");
            secrets[clientId] = secret;
        }

        file.SetLength(Encoding.UTF8.GetByteCount(text));
        file.Position = 0;
        if (text == Header)
            file.Write(Encoding.UTF8.GetBytes(Header));
        file.Position = file.Length;
        file.Flush(flushToDisk: true);
    }
}
