using System.Reflection;
using System.Security.Cryptography;
using System.Text;

namespace TokenService.Postgres;

/// <summary>A file of <c>migrations/</c>, as it was built into this assembly.</summary>
/// <param name="Name">The file's name without its ending.</param>
/// <param name="Sql">The file.</param>
internal abstract record SchemaFile(string Name, string Sql)
{
    /// <summary>SHA-256 of the file, in hexadecimal.</summary>
    public string Checksum => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Sql)));
}

/// <summary>A numbered change of the tables, which a database is given once.</summary>
/// <param name="Number">1, 2, 3 and on, without gaps.</param>
/// <param name="Name">The file's name without its ending.</param>
/// <param name="Sql">The file.</param>
internal sealed record Migration(int Number, string Name, string Sql) : SchemaFile(Name, Sql);

/// <summary>
/// Functions, triggers or rights, which may be applied again and again, because each statement replaces what was there
/// before.
/// </summary>
internal sealed record FunctionsFile(string Name, string Sql) : SchemaFile(Name, Sql)
{
    /// <summary>
    /// True when later files need it: constraints and functions call its functions, or its rights go to the roles.
    /// </summary>
    public bool ComesBeforeTables => BeforeTables.Contains(Name);

    /// <summary>These use no table. Every other file may use the tables, and comes after them.</summary>
    private static readonly string[] BeforeTables = ["roles", "grammar", "instant"];

    /// <summary>The order in which files are applied.</summary>
    public static IEnumerable<FunctionsFile> InOrder(IEnumerable<FunctionsFile> files) => files
        .OrderBy(file => file.ComesBeforeTables ? Array.IndexOf(BeforeTables, file.Name) : BeforeTables.Length)
        .ThenBy(file => file.Name, StringComparer.Ordinal);
}

/// <summary>All that a database needs for a build.</summary>
/// <param name="Migrations">The tables, in the order of their numbers.</param>
/// <param name="Functions">Functions, triggers and rights, in the order in which they are applied.</param>
internal sealed record DatabaseSchema(IReadOnlyList<Migration> Migrations, IReadOnlyList<FunctionsFile> Functions)
{
    private const string Folder = "migrations/";
    private const string FunctionsFolder = Folder + "functions/";

    public static DatabaseSchema OfThisBuild { get; } = Load(typeof(DatabaseSchema).Assembly);

    private static DatabaseSchema Load(Assembly assembly)
    {
        var files = assembly.GetManifestResourceNames()
            .Where(resource => resource.StartsWith(Folder, StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .ToLookup(resource => resource.StartsWith(FunctionsFolder, StringComparison.Ordinal));
        return new DatabaseSchema(
            [.. files[false].Select((resource, index) => LoadMigration(assembly, resource, index + 1))],
            [.. FunctionsFile.InOrder(files[true].Select(resource => new FunctionsFile(NameOf(resource), Read(assembly, resource))))]);
    }

    private static Migration LoadMigration(Assembly assembly, string resource, int number)
    {
        var name = NameOf(resource);
        return name.StartsWith($"{number:0000}_", StringComparison.Ordinal)
            ? new Migration(number, name, Read(assembly, resource))
            : throw new InvalidOperationException($"{resource} should begin with {number:0000}_: migrations are numbered without gaps.");
    }

    private static string NameOf(string resource) => Path.GetFileNameWithoutExtension(resource);

    private static string Read(Assembly assembly, string resource)
    {
        using var reader = new StreamReader(assembly.GetManifestResourceStream(resource)!);
        return reader.ReadToEnd();
    }
}
