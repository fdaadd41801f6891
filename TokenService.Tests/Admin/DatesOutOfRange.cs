using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>
/// Dates and intervals that no row can have, passed to every function that an admin may call. PostgreSQL shows the
/// whole row when a constraint refuses it, and a row of client_secret has a digest. So the functions check their
/// arguments first.
/// </summary>
[TestFixture]
public sealed class DatesOutOfRange : AdminFixture
{
    private static readonly string[] Dates =
    [
        "null", "'infinity'", "'-infinity'", "'4713-01-01 BC'", "'1899-12-31Z'", "'8999-12-31Z'", "'9000-01-01Z'", "'20000-01-01Z'",
        "'294276-12-31Z'",
    ];

    private static readonly string[] Intervals =
    [
        "null", "'0'", "'-1 second'", "'-178000000 years'", "'365 days'", "'8000 years'", "'178000000 years'", "'2147483647 months'",
    ];

    // Calls that succeed, by function: every function with a date or an interval among its arguments.
    private static readonly Dictionary<string, Dictionary<string, string>> Calls = new()
    {
        ["access_report"] = [],
        ["add_key"] = new() { ["p_client_id"] = "'billing'", ["p_public_jwk"] = $"'{PublicJwk.P256}'" },
        ["add_secret"] = new() { ["p_client_id"] = "'billing'", ["p_secret_id"] = "'AddedAdded11'", ["p_digest"] = Digest },
        ["allow_token_endpoint_audience"] = new() { ["p_client_id"] = "'billing'" },
        ["create_resource"] = new() { ["p_resource"] = "'https://new.example.com'" },
        ["credentials_report"] = [],
        ["retire_unused_secrets"] = new() { ["p_idle"] = "'30 days'", ["p_dry_run"] = "false" },
        ["rotate_key"] = new() { ["p_client_id"] = "'billing'", ["p_public_jwk"] = $"'{PublicJwk.P256}'" },
        ["rotate_secret"] = new() { ["p_client_id"] = "'billing'", ["p_secret_id"] = "'AddedAdded11'", ["p_digest"] = Digest },
        ["set_policy"] = new() { ["p_at_once"] = "true" },
        ["update_client"] = new() { ["p_client_id"] = "'billing'" },
    };

    [Test]
    public async Task Every_function_of_an_admin_that_takes_a_date_is_tried_here() =>
        Assert.That((await ArgumentsAsync()).Select(argument => argument.Function).Distinct(), Is.EquivalentTo(Calls.Keys));

    [Test]
    public async Task No_function_of_an_admin_takes_the_present_instant() =>
        Assert.That((await ArgumentsAsync()).Select(argument => argument.Name), Has.No.Member("p_now"));

    [Test]
    public async Task A_date_or_interval_out_of_range_shows_no_row()
    {
        var arguments = await ArgumentsAsync();
        using (Assert.EnterMultipleScope())
        {
            foreach (var (function, name, type) in arguments)
            {
                foreach (var value in type == "interval" ? Intervals : Dates)
                    await ShowsNoRowAsync(Call(function, new(Calls[function]) { [name] = value }));
            }

            // The old secret ends at the sum of both.
            foreach (var begins in Dates)
            {
                foreach (var overlap in Intervals)
                {
                    var both = new Dictionary<string, string> { ["p_not_before"] = begins, ["p_overlap"] = overlap };
                    foreach (var function in new[] { "rotate_secret", "rotate_key" })
                        await ShowsNoRowAsync(Call(function, new(Calls[function].Concat(both))));
                }
            }
        }
    }

    private async Task ShowsNoRowAsync(string call)
    {
        try
        {
            await using var connection = await Database.Source.OpenConnectionAsync();
            await using var transaction = await connection.BeginTransactionAsync();
            await using var command = new NpgsqlCommand(call, connection, transaction);
            await command.ExecuteNonQueryAsync();
            await transaction.RollbackAsync();
        }
        catch (PostgresException e)
        {
            Assert.That((e.Detail, e.ConstraintName), Is.EqualTo(((string?)null, (string?)null)), $"{call}: {e.MessageText}");
            Assert.That(e.Hint, Is.Not.Null, $"{call}: {e.MessageText}");
        }
    }

    // The arguments that are dates or intervals.
    private async Task<(string Function, string Name, string Type)[]> ArgumentsAsync() =>
    [
        .. (await RowsAsync(
            """
            select p.proname, a.name, format_type(a.type, null)
            from pg_proc p
            cross join unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) as a (name, type)
            where p.pronamespace = 'token_service'::regnamespace
              and has_function_privilege('token_service_admin', p.oid, 'execute')
              and a.type in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype, 'interval'::regtype)
            """))
            .Select(row => row.Split(" | "))
            .Select(row => (row[0], row[1], row[2])),
    ];
}
