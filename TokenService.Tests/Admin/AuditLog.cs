using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>Every administrative change is recorded, and verification finds a record that was tampered with.</summary>
[TestFixture]
public sealed class AuditLog : AdminFixture
{
    private const string Policy =
        "{\"id\": true, \"max_overlap\": \"30 days\", \"max_secret_age\": null, \"min_digest_cost\": 38912, "
        + "\"usage_counted_since\": \"2000-01-01T00:00:00+00:00\"}";

    // The thumbprint is that of the key, in hexadecimal.
    private const string NewKey =
        "{\"alg\": \"ES256\", \"kid\": \"new\", \"label\": null, \"client_id\": \"billing\", \"expires_at\": null, "
        + "\"public_jwk\": {\"x\": \"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\", "
        + "\"y\": \"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\", \"crv\": \"P-256\", \"kty\": \"EC\"}, "
        + "\"revoked_at\": null, \"thumbprint\": "
        + "\"\\\\xa0a232c2f194a53553cb1310ddbc0821e414b9d7ebfc290b323084d7d1020fe5\"}";

    private const string OtherDigest =
        "'$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAUiG7JVe9Zxzthx1TW+yJ0WQsnjyV8bZaqyPptE'";

    // These tables have no trigger: the log itself, the counts of the service, the tokens that clients revoke, and the
    // migrations, which are recorded elsewhere.
    private static readonly string[] Unaudited =
    [
        "audit_log", "audit_pending", "credential_use", "functions_file", "migration", "revoked_token", "scope_use",
        "self_revocation", "used_jti", "verified_secret",
    ];

    // The tables that a token request reads. A new row of scope or resource belongs to no client yet.
    private static readonly string[] ReadForClients =
    [
        "client", "client_key", "client_scope", "client_secret", "policy", "resource", "resource_server", "scope", "self_revocation",
        "tokens_not_before",
    ];

    private static readonly string[] Columns =
    [
        "at = at + interval '1 microsecond'", "user_name = 'somebody'", "application_name = 'something'", "client_address = '192.0.2.1'",
        "operation = 'TRUNCATE'", "table_name = 'policy'", "row_key = null", "client_id = 'another'", "before = '{}'",
        "after = after || '{\"name\": \"x\"}'", "hash = sha256('')",
    ];

    // Recomputes every hash from the rows as they are now, which the owner of the database could do.
    private const string RecomputeHashes =
        """
        do $$
        declare
            v_entry token_service.audit_log;
            v_hash  bytea;
        begin
            for v_entry in select * from token_service.audit_log order by id loop
                v_hash := token_service.audit_hash(v_entry, v_hash);
                update token_service.audit_log set hash = v_hash where id = v_entry.id;
            end loop;
        end
        $$
        """;

    private Login admin = null!;

    // A change, and the rows that it adds to the log: operation | table | key | client | before | after, without dates.
    private static IEnumerable<TestCaseData> Changes() =>
    [
        Change("insert into client (id, name) values ('new', 'New')",
            "INSERT | client | new | new | - | {\"id\": \"new\", \"name\": \"New\", \"enabled\": true, \"extra_claims\": {}, "
            + "\"sender_constraint\": null, \"tokens_per_minute\": null, \"authentication_methods\": [\"client_secret_basic\"], "
            + "\"token_lifetime_seconds\": null, \"token_endpoint_audience_until\": null}"),
        Change("update client set name = 'New', token_lifetime_seconds = 600, enabled = enabled where id = 'billing'",
            "UPDATE | client | billing | billing | {\"name\": \"The billing service\", \"token_lifetime_seconds\": null} "
            + "| {\"name\": \"New\", \"token_lifetime_seconds\": 600}"),
        Change("delete from client where id = 'other'",
            "DELETE | client | other | other | {\"id\": \"other\", \"name\": \"Other\", \"enabled\": true, \"extra_claims\": {}, "
            + "\"sender_constraint\": null, \"tokens_per_minute\": null, \"authentication_methods\": [\"client_secret_basic\"], "
            + "\"token_lifetime_seconds\": null, \"token_endpoint_audience_until\": null} | -",
            "DELETE | client_scope | other https://api.example.com parcels:read | other "
            + "| {\"scope\": \"parcels:read\", \"resource\": \"https://api.example.com\", \"client_id\": \"other\", "
            + "\"is_default\": true} | -",
            "DELETE | client_secret | OtherOther11 | other "
            + "| {\"id\": \"OtherOther11\", \"label\": \"x\", \"digest\": \"…\", \"client_id\": \"other\", "
            + "\"expires_at\": null, \"revoked_at\": null} | -",
            "INSERT | tokens_not_before | other | other | - | {\"client_id\": \"other\"}"),
        Change("truncate client cascade",
            "INSERT | tokens_not_before | billing | billing | - | {\"client_id\": \"billing\"}",
            "INSERT | tokens_not_before | other | other | - | {\"client_id\": \"other\"}",
            "TRUNCATE | client | - | - | - | -", "TRUNCATE | client_key | - | - | - | -", "TRUNCATE | client_scope | - | - | - | -", "TRUNCATE | client_secret | - | - | - | -",
            "TRUNCATE | resource_server | - | - | - | -"),
        Change($"insert into client_key (client_id, kid, alg, public_jwk) values ('billing', 'new', 'ES256', '{PublicJwk.P256}')",
            $"INSERT | client_key | billing new | billing | - | {NewKey}"),
        Change(
            $"insert into client_key (client_id, kid, alg, public_jwk) values ('billing', 'new', 'ES256', '{PublicJwk.P256}'); "
            + "update client_key set label = 'x', revoked_at = '2040-01-01Z'; delete from client_key",
            $"DELETE | client_key | billing new | billing | {NewKey.Replace("\"label\": null", "\"label\": \"x\"", StringComparison.Ordinal)
                .Replace("\"revoked_at\": null", "\"revoked_at\": \"2040-01-01T00:00:00+00:00\"", StringComparison.Ordinal)} | -",
            $"INSERT | client_key | billing new | billing | - | {NewKey}",
            "UPDATE | client_key | billing new | billing | {\"label\": null, \"revoked_at\": null} "
            + "| {\"label\": \"x\", \"revoked_at\": \"2040-01-01T00:00:00+00:00\"}"),
        Change("truncate client_key", "TRUNCATE | client_key | - | - | - | -"),
        Change("insert into used_jti values (sha256(''), now()); delete from used_jti"),
        Change($"insert into client_secret (id, client_id, digest) values ('NewNewNewNew', 'billing', {Digest})",
            "INSERT | client_secret | NewNewNewNew | billing | - | {\"id\": \"NewNewNewNew\", \"label\": null, \"digest\": \"…\", "
            + "\"client_id\": \"billing\", \"expires_at\": null, \"revoked_at\": null}"),
        Change($"update client_secret set digest = {OtherDigest} where id = 'OtherOther11'",
            "UPDATE | client_secret | OtherOther11 | other | {\"digest\": \"…\"} | {\"digest\": \"…\"}"),
        Change("update client_secret set label = 'y' where id = 'OtherOther11'",
            "UPDATE | client_secret | OtherOther11 | other | {\"label\": \"x\"} | {\"label\": \"y\"}"),
        Change("delete from client_secret where id = 'OtherOther11'",
            "DELETE | client_secret | OtherOther11 | other "
            + "| {\"id\": \"OtherOther11\", \"label\": \"x\", \"digest\": \"…\", \"client_id\": \"other\", "
            + "\"expires_at\": null, \"revoked_at\": null} | -"),
        Change("truncate client_secret cascade", "TRUNCATE | client_secret | - | - | - | -"),
        Change("insert into resource (id) values ('https://a')",
            "INSERT | resource | https://a | - | - | {\"id\": \"https://a\", \"typ\": \"at+jwt\", \"signing_alg\": null, "
            + "\"sender_constraint\": null, \"max_token_lifetime_seconds\": null}"),
        Change("update resource set id = 'https://a' where id = 'https://api.example.com'",
            "UPDATE | client_scope | billing https://a parcels:read | billing | {\"resource\": \"https://api.example.com\"} "
            + "| {\"resource\": \"https://a\"}",
            "UPDATE | client_scope | other https://a parcels:read | other | {\"resource\": \"https://api.example.com\"} "
            + "| {\"resource\": \"https://a\"}",
            "UPDATE | resource | https://a | - | {\"id\": \"https://api.example.com\"} | {\"id\": \"https://a\"}",
            "UPDATE | resource_server | billing https://a | billing | {\"resource\": \"https://api.example.com\"} "
            + "| {\"resource\": \"https://a\"}",
            "UPDATE | scope | https://a parcels:read | - | {\"resource\": \"https://api.example.com\"} | {\"resource\": \"https://a\"}"),
        Change("delete from resource where id = 'https://unused.example.com'",
            "DELETE | resource | https://unused.example.com | - | {\"id\": \"https://unused.example.com\", \"typ\": \"at+jwt\", "
            + "\"signing_alg\": \"RS256\", \"sender_constraint\": null, \"max_token_lifetime_seconds\": null} | -"),
        Change("truncate resource cascade",
            "TRUNCATE | client_scope | - | - | - | -", "TRUNCATE | resource | - | - | - | -",
            "TRUNCATE | resource_server | - | - | - | -", "TRUNCATE | scope | - | - | - | -"),
        Change("insert into scope (name, resource) values ('a', 'https://api.example.com')",
            "INSERT | scope | https://api.example.com a | - | - | {\"name\": \"a\", \"resource\": \"https://api.example.com\"}"),
        Change("update scope set name = 'a' where name = 'parcels:read'",
            "UPDATE | client_scope | billing https://api.example.com a | billing | {\"scope\": \"parcels:read\"} | {\"scope\": \"a\"}",
            "UPDATE | client_scope | other https://api.example.com a | other | {\"scope\": \"parcels:read\"} | {\"scope\": \"a\"}",
            "UPDATE | scope | https://api.example.com a | - | {\"name\": \"parcels:read\"} | {\"name\": \"a\"}"),
        Change("delete from client_scope; delete from scope",
            "DELETE | client_scope | billing https://api.example.com parcels:read | billing "
            + "| {\"scope\": \"parcels:read\", \"resource\": \"https://api.example.com\", \"client_id\": \"billing\", "
            + "\"is_default\": false} | -",
            "DELETE | client_scope | other https://api.example.com parcels:read | other "
            + "| {\"scope\": \"parcels:read\", \"resource\": \"https://api.example.com\", \"client_id\": \"other\", "
            + "\"is_default\": true} | -",
            "DELETE | scope | https://api.example.com parcels:read | - "
            + "| {\"name\": \"parcels:read\", \"resource\": \"https://api.example.com\"} | -"),
        Change("truncate scope cascade", "TRUNCATE | client_scope | - | - | - | -", "TRUNCATE | scope | - | - | - | -"),
        Change("update client_scope set is_default = false where client_id = 'other'",
            "UPDATE | client_scope | other https://api.example.com parcels:read | other "
            + "| {\"is_default\": true} | {\"is_default\": false}"),
        Change("delete from client_scope where client_id = 'other'; insert into client_scope (client_id, resource, scope) "
            + "values ('other', 'https://api.example.com', 'parcels:read')",
            "DELETE | client_scope | other https://api.example.com parcels:read | other "
            + "| {\"scope\": \"parcels:read\", \"resource\": \"https://api.example.com\", \"client_id\": \"other\", "
            + "\"is_default\": true} | -",
            "INSERT | client_scope | other https://api.example.com parcels:read | other "
            + "| - | {\"scope\": \"parcels:read\", \"resource\": \"https://api.example.com\", \"client_id\": \"other\", "
            + "\"is_default\": false}"),
        Change("truncate client_scope cascade", "TRUNCATE | client_scope | - | - | - | -"),
        Change(
            "insert into signing_key (kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, "
            + "signs_from, jwks_max_age_seconds) values ('new', 'ES256', '{}', 'sealed', 'test', now(), now(), now(), 300)",
            "INSERT | signing_key | new | - | - | {\"alg\": \"ES256\", \"kid\": \"new\", "
            + "\"ends_by\": null, \"public_jwk\": {}, \"signs_until\": null, "
            + "\"withdrawn_at\": null, \"sealing_key_id\": \"test\", \"sealed_private_key\": \"…\", \"jwks_max_age_seconds\": 300, "
            + "\"max_token_lifetime_seconds\": 0}"),
        Change("update signing_key set sealed_private_key = 'sealed anew', sealing_key_id = 'next'",
            "UPDATE | signing_key | used | - | {\"sealing_key_id\": \"test\", \"sealed_private_key\": \"…\"} "
            + "| {\"sealing_key_id\": \"next\", \"sealed_private_key\": \"…\"}"),
        Change("update signing_key set sealed_private_key = null, signs_until = signs_from",
            "UPDATE | signing_key | used | - | {\"signs_until\": null, \"sealed_private_key\": \"…\"} | {\"sealed_private_key\": null}"),
        Change("delete from signing_key",
            "DELETE | signing_key | used | - | {\"alg\": \"ES256\", \"kid\": \"used\", "
            + "\"ends_by\": null, \"public_jwk\": {}, \"signs_until\": null, "
            + "\"withdrawn_at\": null, \"sealing_key_id\": \"test\", \"sealed_private_key\": \"…\", \"jwks_max_age_seconds\": 300, "
            + "\"max_token_lifetime_seconds\": 0} | -"),
        Change("truncate signing_key", "TRUNCATE | signing_key | - | - | - | -"),
        Change("update policy set max_secret_age = '90 days'",
            "UPDATE | policy | true | - | {\"max_secret_age\": null} | {\"max_secret_age\": \"90 days\"}"),
        // 30 days and 720 hours, and 1 and 1.00, compare as equal, but are not the same.
        Change("update policy set max_overlap = '720 hours'",
            "UPDATE | policy | true | - | {\"max_overlap\": \"30 days\"} | {\"max_overlap\": \"720:00:00\"}"),
        Change("update client set extra_claims = '{\"a\": 1}' where id = 'other'; "
            + "update client set extra_claims = '{\"a\": 1.00}' where id = 'other'",
            "UPDATE | client | other | other | {\"extra_claims\": {\"a\": 1}} | {\"extra_claims\": {\"a\": 1.00}}",
            "UPDATE | client | other | other | {\"extra_claims\": {}} | {\"extra_claims\": {\"a\": 1}}"),
        Change("delete from policy; insert into policy (usage_counted_since) values ('2000-01-01Z')",
            $"DELETE | policy | true | - | {Policy} | -",
            $"INSERT | policy | true | - | - | {Policy}"),
        Change("truncate policy", "TRUNCATE | policy | - | - | - | -"),
        Change("insert into resource_server (client_id, resource) values ('billing', 'https://unused.example.com')",
            "INSERT | resource_server | billing https://unused.example.com | billing | - "
            + "| {\"resource\": \"https://unused.example.com\", \"client_id\": \"billing\"}"),
        Change("update resource_server set client_id = 'other'",
            "UPDATE | resource_server | other https://api.example.com | other | {\"client_id\": \"billing\"} | {\"client_id\": \"other\"}"),
        Change("delete from resource_server",
            "DELETE | resource_server | billing https://api.example.com | billing "
            + "| {\"resource\": \"https://api.example.com\", \"client_id\": \"billing\"} | -"),
        Change("truncate resource_server", "TRUNCATE | resource_server | - | - | - | -"),
        Change("insert into tokens_not_before values ('other', now())",
            "INSERT | tokens_not_before | other | other | - | {\"client_id\": \"other\"}"),
        Change("update tokens_not_before set client_id = 'other'",
            "UPDATE | tokens_not_before | other | other | {\"client_id\": \"gone\"} | {\"client_id\": \"other\"}"),
        Change("select delete_expired(1)"),
        Change("truncate tokens_not_before", "TRUNCATE | tokens_not_before | - | - | - | -"),

        // A function: each row that it changes is recorded.
        Change("select update_client('billing', 'New')",
            "UPDATE | client | billing | billing | {\"name\": \"The billing service\"} | {\"name\": \"New\"}"),
        Change($"select rotate_secret('other', 'NewNewNewNew', {Digest})",
            "INSERT | client_secret | NewNewNewNew | other | - | {\"id\": \"NewNewNewNew\", \"label\": null, \"digest\": \"…\", "
            + "\"client_id\": \"other\", \"expires_at\": null, \"revoked_at\": null}",
            "UPDATE | client_secret | OtherOther11 | other | {\"expires_at\": null} | {\"expires_at\": \"2040-01-02T00:00:00+00:00\"}"),
        Change("select revoke_secret('other', 'OtherOther11')",
            "UPDATE | client_secret | OtherOther11 | other | {\"revoked_at\": null} | {\"revoked_at\": \"2040-01-01T00:00:00+00:00\"}"),

        Change($"select add_key('billing', '{PublicJwk.P256}', 'new')", $"INSERT | client_key | billing new | billing | - | {NewKey}"),
        Change("select require_sender_constraint('other', null, 'dpop'), allow_token_endpoint_audience('other', '2040-02-01Z')",
            "UPDATE | client | other | other | {\"sender_constraint\": null} | {\"sender_constraint\": \"dpop\"}",
            "UPDATE | client | other | other | {\"token_endpoint_audience_until\": null} "
            + "| {\"token_endpoint_audience_until\": \"2040-02-01T00:00:00+00:00\"}"),
        Change("select require_sender_constraint(null, 'https://unused.example.com', 'dpop')",
            "UPDATE | resource | https://unused.example.com | - | {\"sender_constraint\": null} | {\"sender_constraint\": \"dpop\"}"),

        Change("select set_client_enabled('other', false)",
            "INSERT | tokens_not_before | other | other | - | {\"client_id\": \"other\"}",
            "UPDATE | client | other | other | {\"enabled\": true} | {\"enabled\": false}"),
        Change("select revoke_client_tokens('gone')", "UPDATE | tokens_not_before | gone | gone | {} | {}"),
        Change("select register_resource_server('billing', 'https://api.example.com'), end_tokens_of('gone', '2000-01-01Z')"),

        // A row that is changed twice is recorded twice. A row that is not changed is not recorded.
        Change("update client set name = 'New' where id = 'other'; update client set name = 'Other' where id = 'other'",
            "UPDATE | client | other | other | {\"name\": \"Other\"} | {\"name\": \"New\"}",
            "UPDATE | client | other | other | {\"name\": \"New\"} | {\"name\": \"Other\"}"),
        Change("update client set name = name; update client_secret set digest = digest; update policy set id = id"),
        Change("savepoint s; update client set name = 'New'; rollback to s"),
        Change("delete from client where id = 'nobody'"),
        Change("insert into revoked_token (jti, client_id, expires_at) values ('a', 'billing', now()); delete from revoked_token"),
        Change("insert into credential_use values ('secret', 'UsedUsedUsed', 'billing', now(), now(), null, 1); "
            + "update credential_use set use_count = 2; truncate credential_use"),
    ];

    [OneTimeSetUp]
    public async Task CreateRows()
    {
        await Database.SetInstantAsync("'2040-01-01Z'");
        await Database.ExecuteAsync(
            $"""
            insert into token_service.client (id, name) values ('other', 'Other');
            insert into token_service.client_scope (client_id, resource, scope, is_default)
            values ('other', 'https://api.example.com', 'parcels:read', true);
            insert into token_service.client_secret (id, client_id, digest, label) values ('OtherOther11', 'other', {Digest}, 'x');
            insert into token_service.resource (id, signing_alg) values ('https://unused.example.com', 'RS256');
            insert into token_service.resource_server (client_id, resource) values ('billing', 'https://api.example.com');
            insert into token_service.tokens_not_before values ('gone', now() - interval '2 hours');
            insert into token_service.signing_key (
                kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, signs_from, jwks_max_age_seconds)
            values ('used', 'ES256', '{"{}"}', 'sealed', 'test', now(), now(), now(), 300)
            """);
        admin = await Login.CreateAsync(Database, "token_service_admin");
    }

    [OneTimeTearDown]
    public async Task LogOut() => await admin.DisposeAsync();

    [TestCaseSource(nameof(Changes))]
    public async Task The_log_records_a_change_as_it_was_made(string change, string[] expected) =>
        Assert.That(
            await TryAsync(
                // The date style and time zone of the session do not affect the record.
                $"""
                set local search_path = token_service; set local timezone = 'Asia/Tokyo'; set local datestyle = 'German';
                {change};
                set constraints all immediate
                """,
                """
                select operation, table_name, row_key, client_id,
                       before - array['created_at', 'not_before', 'gone_after', 'published_at', 'known_from', 'signs_from'],
                       after - array['created_at', 'not_before', 'gone_after', 'published_at', 'known_from', 'signs_from']
                           - (case when before ? 'signs_until' then array['signs_until'] else array[]::text[] end)
                from token_service.audit_log
                where xmin = pg_current_xact_id()::xid
                order by operation, table_name, row_key, after::text
                """),
            Is.EqualTo(expected));

    [Test]
    public async Task A_record_says_who_when_and_from_where()
    {
        await using var connection = await admin.Source.OpenConnectionAsync();
        await using var command = new NpgsqlCommand(
            "select token_service.update_client('other', 'Renamed'), inet_client_addr()::text", connection);
        await using (var reader = await command.ExecuteReaderAsync())
            Assert.That(await reader.ReadAsync(), Is.True);
        command.CommandText = "select token_service.update_client('other', 'Other')";
        await command.ExecuteNonQueryAsync();

        // A connection over a Unix socket has no address.
        command.CommandText =
            """
            select concat_ws(' | ', user_name, application_name, client_address is not distinct from inet_client_addr(),
                at between now() - interval '1 minute' and clock_timestamp(), operation, row_key)
            from token_service.audit_log order by id desc limit 1
            """;
        Assert.That(await command.ExecuteScalarAsync(), Is.EqualTo($"{admin.Name} | a test | t | t | UPDATE | other"));
    }

    [Test]
    public async Task A_user_under_another_role_is_recorded_as_the_user_who_logged_in()
    {
        await using var connection = await admin.Source.OpenConnectionAsync();
        await using var command = new NpgsqlCommand(
            "set role token_service_admin; select token_service.update_client('other', 'Renamed'), "
            + "token_service.update_client('other', 'Other'); reset role",
            connection);
        await command.ExecuteNonQueryAsync();
        Assert.That(
            await RowsAsync("select user_name from token_service.audit_log order by id desc limit 2"),
            Is.EqualTo([admin.Name, admin.Name]));
    }

    [Test]
    public async Task A_change_that_is_rolled_back_is_not_recorded()
    {
        var before = await CountAsync();
        await TryAsync("update token_service.client set name = 'New'; set constraints all immediate", "select 1");
        Assert.That(await CountAsync(), Is.EqualTo(before));
    }

    [Test]
    public async Task Transactions_at_the_same_time_make_one_chain()
    {
        const int Writers = 20;
        var before = await CountAsync();
        await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Database.ExecuteAsync(
            $"""
            begin;
            insert into token_service.client (id, name) values ('writer{writer}', 'x');
            update token_service.client set name = 'y' where id = 'writer{writer}';
            commit
            """)));

        Assert.That(await FindingsAsync(), Is.Empty);
        Assert.That(await CountAsync(), Is.EqualTo(before + (2 * Writers)));
        Assert.That(await Database.ReadAsync<long>("select max(id) from token_service.audit_log"), Is.EqualTo(await CountAsync()));
    }

    [Test]
    public async Task An_open_transaction_does_not_keep_others_from_committing()
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var command = new NpgsqlCommand(
            "update token_service.client set name = 'New' where id = 'billing'", connection, transaction);
        await command.ExecuteNonQueryAsync();

        // The updates take far less than 10 seconds, unless they wait for the open transaction.
        await Database.ExecuteAsync(
            """
            set lock_timeout = '10s';
            update token_service.client set name = 'New' where id = 'other';
            update token_service.client set name = 'Other' where id = 'other';
            reset lock_timeout
            """);
        await transaction.RollbackAsync();
    }

    [Test]
    public async Task A_whole_chain_has_no_findings_under_any_session_settings()
    {
        Assert.That(await CountAsync(), Is.GreaterThan(5));
        foreach (var session in new[]
        {
            "set local timezone = 'UTC'", "set local timezone = 'Asia/Kathmandu'", "set local datestyle = 'German'",
            "set local intervalstyle = 'iso_8601'", "set local bytea_output = 'escape'", "set local extra_float_digits = -15",
            "set local standard_conforming_strings = off", "set local search_path = pg_temp",
        })
        {
            Assert.That(await TryAsync(session, "select * from token_service.audit_findings()"), Is.Empty, session);
        }
    }

    [TestCaseSource(nameof(Columns))]
    public async Task A_changed_row_is_found(string change) =>
        Assert.That(
            (await TamperAsync($"update token_service.audit_log set {change} where id = 3"))[0],
            Is.EqualTo("3 | this row, its place or the hash of the one before was changed"));

    [Test]
    public async Task Every_column_has_a_case_that_changes_it() =>
        Assert.That(
            await RowsAsync(
                "select attname from pg_attribute where attrelid = 'token_service.audit_log'::regclass and attnum > 0 order by attnum"),
            Is.EqualTo(Columns.Select(change => change.Split(' ')[0]).Prepend("id")));

    [Test]
    public async Task A_changed_row_with_a_recomputed_hash_is_found_by_the_next_row() =>
        Assert.That(
            await TamperAsync(
                """
                update token_service.audit_log set user_name = 'somebody' where id = 3;
                update token_service.audit_log e
                set hash = token_service.audit_hash(e, (select hash from token_service.audit_log where id = 2))
                where id = 3
                """),
            Is.EqualTo(["4 | this row, its place or the hash of the one before was changed"]));

    [TestCase("id = 1", "2 | rows are missing before this one: 1")]
    [TestCase("id = 3", "4 | rows are missing before this one: 1")]
    [TestCase("id between 2 and 4", "5 | rows are missing before this one: 3")]
    public async Task A_deleted_row_is_found_even_when_all_hashes_are_recomputed(string which, string expected)
    {
        var deletion = $"delete from token_service.audit_log where {which};";
        Assert.That(await TamperAsync(deletion), Is.EqualTo([expected]));
        Assert.That(await TamperAsync(deletion + RecomputeHashes), Is.EqualTo([expected]));
    }

    [Test]
    public async Task A_deleted_row_whose_gap_was_closed_is_found() =>
        Assert.That(
            await TamperAsync(
                """
                delete from token_service.audit_log where id = 3;
                update token_service.audit_log set id = 3 where id = (select max(id) from token_service.audit_log)
                """),
            Has.Length.EqualTo(2).And.Member("3 | this row, its place or the hash of the one before was changed"));

    [Test]
    public async Task Swapped_rows_are_found() =>
        Assert.That(
            await TamperAsync(
                """
                update token_service.audit_log set id = -id where id in (3, 4);
                update token_service.audit_log set id = 7 + id where id in (-3, -4)
                """),
            Is.EqualTo([
                "3 | this row, its place or the hash of the one before was changed",
                "4 | this row, its place or the hash of the one before was changed",
                "5 | this row, its place or the hash of the one before was changed",
            ]));

    [Test]
    public async Task A_cut_off_end_is_found_by_a_row_that_was_noted()
    {
        var (id, hash) = await NoteAsync();
        var cut = $"delete from token_service.audit_log where id >= {id}";
        Assert.That(await TamperAsync(cut), Is.Empty, "the chain alone does not show it");
        Assert.That(await TamperAsync(cut, $"{id}, '{hash}'"), Is.EqualTo([$"{id} | this row is not the one that was noted"]));
    }

    [Test]
    public async Task A_chain_with_recomputed_hashes_is_found_by_a_row_that_was_noted()
    {
        const string Forgery = "update token_service.audit_log set user_name = 'somebody' where id = 1;";
        var (id, hash) = await NoteAsync();
        Assert.That(await TamperAsync(Forgery + RecomputeHashes), Is.Empty, "the chain alone does not show it");
        Assert.That(
            await TamperAsync(Forgery + RecomputeHashes, $"{id}, '{hash}'"),
            Is.EqualTo([$"{id} | this row is not the one that was noted"]));
    }

    [Test]
    public async Task A_noted_row_that_is_in_the_log_is_no_finding_and_half_a_note_is_one()
    {
        var (id, hash) = await NoteAsync();
        Assert.That(await FindingsAsync($"{id}, '{hash}'"), Is.Empty);
        Assert.That(await FindingsAsync($"{id}, null"), Is.EqualTo([$"{id} | this row is not the one that was noted"]));
        Assert.That(await FindingsAsync($"null, '{hash}'"), Is.EqualTo(["- | this row is not the one that was noted"]));
        Assert.That(await FindingsAsync($"1, '{hash}'"), Is.EqualTo(["1 | this row is not the one that was noted"]));
    }

    [Test]
    public async Task A_restored_dump_has_no_findings_and_continues_the_chain()
    {
        var (id, hash) = await NoteAsync();
        await using var restored = await Database.CreateEmptyAsync();
        await RestoreAsync(restored, await Psql.DumpAsync(Database));

        Assert.That(await restored.ReadAsync<long>($"select count(*) from token_service.audit_findings({id}, '{hash}')"), Is.Zero);
        Assert.That(await restored.ReadAsync<long>("select count(*) from token_service.audit_log"), Is.EqualTo(await CountAsync()));

        // The chain continues where the dump ended.
        await restored.ExecuteAsync("update token_service.client set name = 'New' where id = 'other'");
        Assert.That(await restored.ReadAsync<long>($"select count(*) from token_service.audit_findings({id}, '{hash}')"), Is.Zero);
        Assert.That(await restored.ReadAsync<long>("select max(id) from token_service.audit_log"), Is.EqualTo(await CountAsync() + 1));
    }

    [Test]
    public async Task Every_table_is_audited_except_the_named_ones()
    {
        // The trigger for rows runs at the end of the transaction, so that other transactions wait for the chain only
        // then. tgtype adds up row 1, INSERT 4, DELETE 8, UPDATE 16 and TRUNCATE 32.
        var triggers = await RowsAsync(
            """
            select t.relname, string_agg(g.tgtype::text || case when g.tginitdeferred then ' deferred' else '' end, ', ' order by g.tgtype)
            from pg_class t
            left join pg_trigger g on g.tgrelid = t.oid and g.tgenabled = 'O' and g.tgfoid = 'token_service.record_change'::regproc
            where t.relnamespace = 'token_service'::regnamespace
              and t.relkind in ('r', 'p')
            group by t.relname
            order by t.relname collate "C"
            """);
        Assert.That(
            triggers.Where(line => !line.EndsWith(" | 29 deferred, 32", StringComparison.Ordinal)),
            Is.EqualTo(Unaudited.Select(table => $"{table} | -")));
    }

    [Test]
    public async Task Every_table_that_a_token_request_reads_notifies_of_its_changes()
    {
        var triggers = await RowsAsync(
            """
            select t.relname, bit_or(g.tgtype::integer) & 60
            from pg_class t
            join pg_trigger g on g.tgrelid = t.oid and g.tgenabled = 'O' and g.tgfoid = 'token_service.notify_change'::regproc
            where t.relnamespace = 'token_service'::regnamespace
              and t.relname not in ('signing_key', 'revoked_token')
            group by t.relname
            order by t.relname collate "C"
            """);
        Assert.That(
            triggers,
            Is.EqualTo(ReadForClients.Select(table => $"{table} | {(table is "resource" or "scope" ? 8 + 16 + 32 : 4 + 8 + 16 + 32)}")));
    }

    private static TestCaseData Change(string change, params string[] expected) =>
        new TestCaseData(change, expected).SetArgDisplayNames(change);

    private static async Task RestoreAsync(Database database, string dump)
    {
        var connection = new NpgsqlConnectionStringBuilder(database.ConnectionString);
        var psql = await Tool.RunAsync(
            "psql", ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=on"], dump,
            ("PGHOST", connection.Host!), ("PGPORT", $"{connection.Port}"), ("PGDATABASE", connection.Database!),
            ("PGUSER", connection.Username!), ("PGPASSWORD", connection.Password ?? ""));
        Assert.That(psql.ExitCode, Is.Zero, psql.Error);
    }

    private async Task<(long Id, string Hash)> NoteAsync()
    {
        var rows = await RowsAsync("select id, encode(hash, 'hex') from token_service.audit_log order by id desc limit 1");
        var note = rows[0].Split(" | ");
        return (long.Parse(note[0], null), note[1]);
    }

    private Task<long> CountAsync() => Database.ReadAsync<long>("select count(*) from token_service.audit_log");

    private Task<string[]> FindingsAsync(string known = "") => RowsAsync($"select * from token_service.audit_findings({known})");

    private Task<string[]> TamperAsync(string tampering, string known = "") =>
        TryAsync(tampering, $"select * from token_service.audit_findings({known})");

    // Undoes the changes of the statement afterwards.
    private async Task<string[]> TryAsync(string sql, string query)
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using (var command = new NpgsqlCommand(sql, connection, transaction))
            await command.ExecuteNonQueryAsync();
        var rows = await RowsAsync(query, connection);
        await transaction.RollbackAsync();
        return rows;
    }
}
