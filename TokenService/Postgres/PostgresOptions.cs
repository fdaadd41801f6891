using System.ComponentModel.DataAnnotations;
using Npgsql;

namespace TokenService.Postgres;

/// <summary>The connection to the database.</summary>
internal sealed class PostgresOptions : IValidatableObject
{
    /// <summary>The name under <c>ConnectionStrings</c>.</summary>
    public const string ConnectionName = "TokenService";

    private const string Example = "Host=127.0.0.1;Port=5432;Database=token_service;Username=token_service";

    /// <summary>
    /// Npgsql's connection string. Required. Several hosts may be named, for a cluster that fails over.
    /// </summary>
    public string ConnectionString { get; set; } = "";

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (ConnectionString.Length == 0)
        {
            yield return new($"ConnectionStrings:{ConnectionName} is missing. Set it to an Npgsql connection string, such as {Example}.");
        }
        else if (IsOfLibpq())
        {
            yield return new($"ConnectionStrings:{ConnectionName} is in libpq's form. Write it in Npgsql's, with semicolons, "
                + $"such as {Example}.");
        }
        else if (!IsWellFormed())
        {
            // The value may hold a password, so the message does not show it.
            yield return new($"ConnectionStrings:{ConnectionName} is not an Npgsql connection string with a Host, such as {Example}.");
        }
    }

    // postgresql://…, or host=… port=…, of which Npgsql would take everything after the first = for the name of the host.
    private bool IsOfLibpq() =>
        (ConnectionString.StartsWith("postgres", StringComparison.OrdinalIgnoreCase)
            && ConnectionString.Contains("://", StringComparison.Ordinal))
        || (!ConnectionString.Contains(';', StringComparison.Ordinal)
            && ConnectionString.Trim().Contains(' ', StringComparison.Ordinal)
            && ConnectionString.Count(c => c == '=') > 1);

    private bool IsWellFormed()
    {
        try
        {
            return new NpgsqlConnectionStringBuilder(ConnectionString).Host is { Length: > 0 };
        }
        catch (ArgumentException)
        {
            return false;
        }
    }
}
