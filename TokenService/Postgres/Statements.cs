using System.Data.Common;
using Npgsql;

namespace TokenService.Postgres;

/// <summary>
/// Runs what Dapper cannot run in the native build: several results of one command, and statements without parameters.
/// The code that replaces Dapper's at build time takes a CancellationToken only beside other parameters.
/// </summary>
internal static class Statements
{
    /// <summary>Runs statements, and returns when the last one is done.</summary>
    /// <param name="connection">An open connection.</param>
    /// <param name="sql">One statement or more, without parameters.</param>
    /// <param name="ct">Ends the wait for the database.</param>
    /// <param name="timeoutSeconds">0: none. Null: that of the connection.</param>
    public static async Task RunAsync(
        this NpgsqlConnection connection, string sql, CancellationToken ct, int? timeoutSeconds = null)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        if (timeoutSeconds is { } seconds)
            command.CommandTimeout = seconds;
        await command.ExecuteNonQueryAsync(ct);
    }

    /// <summary>Reads one result, and goes on to the next.</summary>
    /// <param name="reader">Stands before the first row of the result.</param>
    /// <param name="read">Reads a row, such as Dapper's row parser for this result.</param>
    /// <param name="ct">Ends the wait for the database.</param>
    public static async Task<List<T>> ReadRowsAsync<T>(this DbDataReader reader, Func<DbDataReader, T> read, CancellationToken ct)
    {
        List<T> rows = [];
        while (await reader.ReadAsync(ct))
            rows.Add(read(reader));
        await reader.NextResultAsync(ct);
        return rows;
    }
}
