using Dapper;
using Npgsql;
using TokenService.Secrets;

namespace TokenService.Commands;

/// <summary>
/// <c>demo-client</c>: makes the client that <c>scripts/run</c> shows to a newcomer, with a new secret each time. It
/// calls the functions that the admin's scripts call, and needs the rights of an admin.
/// </summary>
internal static class DemoClientCommand
{
    private const string ClientId = "demo";

    private const string Exists = "select exists (select from token_service.client where id = @ClientId)";

    private const string Create = """
        select token_service.create_client(
            p_client_id      => @ClientId,
            p_name           => 'Made by scripts/run',
            p_resource       => 'https://api.example.com',
            p_scopes         => array['invoices:read', 'invoices:write'],
            p_default_scopes => array['invoices:read'],
            p_methods        => array['client_secret_basic', 'client_secret_post']);

        select token_service.add_secret(@ClientId, @secretId, @digest)
        """;

    private const string Renew = """
        select token_service.rotate_secret(@ClientId, @secretId, @digest, p_overlap => interval '0')
        """;

    public static async Task<int> RunAsync(TextWriter output)
    {
        await using var services = CommandHost.Build();
        var secret = GeneratedSecret.Create();
        var digest = services.Digest(secret.Value).ToString();

        await using var connection = await services.GetRequiredService<NpgsqlDataSource>().OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var exists = await connection.ExecuteScalarAsync<bool>(
            Exists, new { ClientId }, commandTimeout: connection.CommandTimeout);
        await connection.ExecuteAsync(
            exists ? Renew : Create, new { ClientId, secretId = secret.Selector, digest }, commandTimeout: connection.CommandTimeout);
        await transaction.CommitAsync();

        await output.WriteLineAsync($"client_id={ClientId}");
        await output.WriteLineAsync($"client_secret={secret.Value}");
        return 0;
    }
}
