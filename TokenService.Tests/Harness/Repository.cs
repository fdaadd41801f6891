using System.Reflection;

namespace TokenService.Tests.Harness;

/// <summary>The checkout these tests were built from.</summary>
internal static class Repository
{
    public static string Root { get; } = typeof(Repository).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(metadata => metadata.Key == "RepositoryRoot").Value!;

    public static string PathTo(params string[] parts) => Path.Combine([Root, .. parts]);
}
