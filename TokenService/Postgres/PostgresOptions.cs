using System.ComponentModel.DataAnnotations;
using Npgsql;

namespace TokenService.Postgres;

/// <summary>The connection to the database.</summary>
internal sealed class PostgresOptions : IValidatableObject
{
    /// <summary>The name under <c>ConnectionStrings</c>.</summary>
    public const string ConnectionName = "TokenService";

    /// <summary>
    /// Npgsql's connection string. Required. Several hosts may be named, for a cluster that fails over.
    /// </summary>
    public string ConnectionString { get; set; } = "";

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (ConnectionString.Length == 0)
        {
            yield return new($"ConnectionStrings:{ConnectionName} is missing. Set it to an Npgsql connection string, "
                + "such as Host=127.0.0.1;Database=token_service;Username=token_service.");
        }
        else if (!IsWellFormed())
        {
            // The value may hold a password, so the message does not show it.
            yield return new($"ConnectionStrings:{ConnectionName} is not an Npgsql connection string with a Host.");
        }
    }

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
