using Dapper;
using Npgsql;
using TokenService.Tests.Admin;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Schema;

/// <summary>
/// The constraints, which refuse bad rows that do not come through the functions; and the comments of the schema.
/// </summary>
[TestFixture]
public sealed class Constraints : AdminFixture
{
    // RFC 7518 §6: the members of a JWK that hold private or symmetric key material.
    private static readonly string[] PrivateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

    // A kid has no space, because credential_use joins the client and the kid with one.
    private static readonly string[] NotKids =
        ["''", "'a b'", "'a\"b'", "'a''b'", "'a`b'", "'a\\b'", "'é'", "E'a\\n'", "repeat('a', 129)", "'tsvc_BBBBBBBBBBBB'"];

    private static readonly string[] NotAlgorithms = ["none", "HS256", "ES512", "EdDSA", "es256"];

    // Keys of another algorithm; keys for another use; and numbers in another spelling than the one that a thumbprint
    // is made of.
    private static readonly (string Alg, string Jwk)[] NotPublicJwks =
    [
        ("ES384", PublicJwk.P256), ("ES256", PublicJwk.P384), ("Ed25519", PublicJwk.P256), ("RS256", PublicJwk.P256),
        ("ES256", PublicJwk.Rsa), ("ES256", PublicJwk.Ed25519),
        ("ES256", PublicJwk.P256.With("\"use\": \"enc\"")), ("ES256", PublicJwk.P256.With("\"key_ops\": [\"sign\"]")),
        ("ES256", PublicJwk.P256.With("\"x5u\": \"" + new string('a', 2048) + "\"")),
        ("ES256", PublicJwk.P256.With("\"x\": \"83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"")),
        ("ES256", PublicJwk.P256.With("\"y\": \"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1\"")),
        ("ES256", PublicJwk.P256.With("\"y\": \"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0=\"")),
        ("ES384", PublicJwk.P384.With("\"x\": \"zrRXmyI8VWFJg1dPUNbFcc9jZvjZEfH7ulKI1UkXAltd7RGWrcfFxqyGPcwu6AQ\"")),
        ("Ed25519", PublicJwk.Ed25519.With("\"x\": \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp\"")),
        ("PS256", PublicJwk.Rsa.With("\"e\": \"AAEAAQ\"")), ("PS256", PublicJwk.Rsa.With("\"e\": \"AQAB=\"")),
        ("PS256", PublicJwk.Rsa.With("\"n\": \"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbf\"")),
        ("PS256", PublicJwk.Rsa.With("\"n\": \"AA" + new string('A', 340) + "\"")),
        ("PS256", PublicJwk.Rsa.With("\"n\": \"0v" + new string('A', 682) + "\"")),
    ];

    private const string Entry = "(select entry from token_service.audit_log entry limit 1)";

    // Each row is written by a plain INSERT, which the checks of the functions do not see.
    private static IEnumerable<TestCaseData> RefusedRows() =>
    [
        .. Rows("migration (number, name, checksum)", ("migration_pkey", ["1, 'again', ''"])),
        .. Rows("functions_file (name, checksum)", ("functions_file_pkey", ["'secrets', ''"])),
        .. Rows("client (id, name)",
            ("client_pkey", ["'billing', 'again'"]),
            ("client_id_grammar",
                ["'', 'x'", "'a b', 'x'", "'a\"b', 'x'", "'a''b', 'x'", "'a`b', 'x'", "'a\\b', 'x'", "'*', 'x'", "'é', 'x'", "E'a\\n', 'x'",
                    "repeat('a', 256), 'x'", "'tsvc_BBBBBBBBBBBB', 'x'"]),
            ("client_name_length", ["'a', ''", "'a', repeat('x', 201)"])),
        .. Rows("client (id, name, authentication_methods)",
            ("client_authentication_methods_known", ["'a', 'x', '{}'", "'a', 'x', '{none}'", "'a', 'x', '{client_secret_basic,NULL}'"])),
        .. Rows("client (id, name, token_lifetime_seconds)",
            ("client_token_lifetime_range", ["'a', 'x', 59", "'a', 'x', 86401"])),
        .. Rows("client (id, name, tokens_per_minute)",
            ("client_tokens_per_minute_range", ["'a', 'x', 0", "'a', 'x', 1000001"])),
        .. Rows("client (id, name, extra_claims)",
            ("client_extra_claims_are_a_small_object",
                [
                    "'a', 'x', '[]'", "'a', 'x', 'null'", "'a', 'x', '\"sub\"'",
                    """'a', 'x', jsonb_build_object('a', repeat('x', 1016))""",
                ]),
            ("client_extra_claims_not_reserved", ["""'a', 'x', '{"sub": null}'""", """'a', 'x', '{"tenant": 1, "Roles": []}'"""]),
            ("client_extra_claims_depth",
                [$"'a', 'x', '{Nested("{\"a\": ", 17, "}")}'", $"'a', 'x', '{{\"a\": {Nested("[", 16, "]")}}}'"])),
        .. Rows("client_secret (client_id, id, digest)",
            ("client_secret_pkey", [$"'billing', 'UsedUsedUsed', {Digest}"]),
            ("client_secret_client_fkey", [$"'nobody', 'CCCCCCCCCCCC', {Digest}"]),
            ("client_secret_id_grammar", [$"'billing', 'CCCCCCCCCCC', {Digest}", $"'billing', E'CCCCCCCCCCCC\\n', {Digest}"]),
            ("client_secret_digest_is_argon2id", [$"'billing', 'CCCCCCCCCCCC', '{Plaintext}'", "'billing', 'CCCCCCCCCCCC', ''"])),
        .. Rows("client_secret (client_id, id, digest, label)",
            ("client_secret_label_length",
                [$"'billing', 'CCCCCCCCCCCC', {Digest}, ''", $"'billing', 'CCCCCCCCCCCC', {Digest}, repeat('x', 201)"])),
        .. Rows("client_secret (client_id, id, digest, not_before, expires_at)",
            ("client_secret_expires_after_start", [$"'billing', 'CCCCCCCCCCCC', {Digest}, now(), now()"]),
            ("client_secret_dates_representable",
                [
                    $"'billing', 'CCCCCCCCCCCC', {Digest}, now(), '20270-01-01'", $"'billing', 'CCCCCCCCCCCC', {Digest}, now(), 'infinity'",
                    $"'billing', 'CCCCCCCCCCCC', {Digest}, '20270-01-01', null", $"'billing', 'CCCCCCCCCCCC', {Digest}, '-infinity', null",
                ])),
        .. Rows("client_secret (client_id, id, digest, revoked_at)",
            ("client_secret_dates_representable", [$"'billing', 'CCCCCCCCCCCC', {Digest}, '20270-01-01'"])),
        .. Rows("client (id, name, sender_constraint)",
            ("client_sender_constraint_known", ["'a', 'x', ''", "'a', 'x', 'none'", "'a', 'x', 'DPoP'"])),
        .. Rows("client (id, name, token_endpoint_audience_until)",
            ("client_token_endpoint_audience_until_representable", ["'a', 'x', 'infinity'"])),
        .. Rows("client_key (client_id, kid, alg, public_jwk)",
            ("client_key_pkey", [$"'billing', 'used', 'ES256', '{PublicJwk.NewP256()}'"]),
            ("client_key_thumbprint_key",
                [
                    $"'billing', 'a', 'ES256', '{PublicJwk.P256}'",
                    $$"""'billing', 'a', 'ES256', '{{PublicJwk.P256.With("\"use\": \"sig\"")}}'""",
                ]),
            ("client_key_client_fkey", [$"'nobody', 'a', 'ES256', '{PublicJwk.P256}'"]),
            ("client_key_kid_grammar",
                [.. NotKids.Select(kid => $"'billing', {kid}, 'ES256', '{PublicJwk.NewP256()}'")]),
            ("client_key_alg_known",
                [.. NotAlgorithms.Select(alg => $"'billing', 'a', '{alg}', '{PublicJwk.NewP256()}'")]),
            ("client_key_public_jwk_fits_alg",
                [
                    .. NotPublicJwks.Select(key => $"'billing', 'a', '{key.Alg}', '{key.Jwk}'"),
                    .. PrivateMembers.Select(member =>
                        $$"""'billing', 'a', 'ES256', '{{PublicJwk.P256.With($"\"{member}\": \"\"")}}'"""),
                ]),
            ("client_key_public_jwk_depth",
                [$$"""'billing', 'a', 'ES256', '{{PublicJwk.P256.With($"\"x5c\": {Nested("[", 16, "]")}")}}'"""])),
        .. Rows("client_key (client_id, kid, alg, public_jwk, label)",
            ("client_key_label_length",
                [
                    $"'billing', 'a', 'ES256', '{PublicJwk.NewP256()}', ''",
                    $"'billing', 'a', 'ES256', '{PublicJwk.NewP256()}', repeat('x', 201)",
                ])),
        .. Rows("client_key (client_id, kid, alg, public_jwk, not_before, expires_at)",
            ("client_key_expires_after_start", [$"'billing', 'a', 'ES256', '{PublicJwk.NewP256()}', now(), now()"]),
            ("client_key_dates_representable", [$"'billing', 'a', 'ES256', '{PublicJwk.NewP256()}', now(), 'infinity'"])),
        .. Rows("client_key (client_id, kid, alg, public_jwk, revoked_at)",
            ("client_key_dates_representable", [$"'billing', 'a', 'ES256', '{PublicJwk.NewP256()}', '-infinity'"])),
        .. Rows("client_key (client_id, kid, alg, public_jwk, created_at)",
            ("client_key_dates_representable", [$"'billing', 'a', 'ES256', '{PublicJwk.NewP256()}', '20270-01-01'"])),
        .. Rows("used_jti",
            ("used_jti_pkey", ["sha256('used'), now()"]),
            ("used_jti_key_length", ["'', now()", "'\\x00', now()"]),
            ("used_jti_dates_representable", ["sha256(''), 'infinity'"])),
        .. Rows("resource (id, sender_constraint)",
            ("resource_sender_constraint_known", ["'https://other.example.com', 'mtls'"])),
        .. Rows("resource (id, typ)",
            ("resource_typ_known", ["'https://other.example.com', 'jwt'", "'https://other.example.com', 'revoked-tokens+jwt'"])),
        .. Rows("resource (id, signing_alg)", ("resource_signing_alg_known", ["'https://other.example.com', 'none'"])),
        .. Rows("resource (id, max_token_lifetime_seconds)",
            ("resource_max_token_lifetime_range", ["'https://other.example.com', 59", "'https://other.example.com', 86401"])),
        .. Rows("resource_server (client_id, resource)",
            ("resource_server_pkey", ["'billing', 'https://api.example.com'"]),
            ("resource_server_client_fkey", ["'nobody', 'https://api.example.com'"]),
            ("resource_server_resource_fkey", ["'billing', 'https://nowhere.example.com'"])),
        .. Rows("revoked_token (jti, client_id, expires_at)",
            ("revoked_token_pkey", ["'used', 'billing', now()"]),
            ("revoked_token_jti_grammar",
                ["'', 'billing', now()", "'a.b', 'billing', now()", "E'a\\n', 'billing', now()", "repeat('a', 65), 'billing', now()"])),
        .. Rows("tokens_not_before",
            ("tokens_not_before_pkey", ["'billing', now()"]),
            ("tokens_not_before_dates_representable", ["'a', 'infinity'", "'a', '-infinity'", "'a', '20270-01-01'"])),
        .. Rows("resource (id)",
            ("resource_pkey", ["'https://api.example.com'"]),
            ("resource_id_grammar", NotResources)),
        .. Rows("scope (resource, name)",
            ("scope_pkey", ["'https://api.example.com', 'parcels:read'"]),
            ("scope_resource_fkey", ["'https://nowhere.example.com', 'a'"]),
            ("scope_name_grammar",
                [.. NotScopes.Select(name => $"'https://api.example.com', {name}")])),
        .. Rows("client_scope (client_id, resource, scope)",
            ("client_scope_pkey", ["'billing', 'https://api.example.com', 'parcels:read'"]),
            ("client_scope_client_fkey", ["'nobody', 'https://api.example.com', 'parcels:read'"]),
            ("client_scope_scope_fkey",
                ["'billing', 'https://api.example.com', 'nothing'", "'billing', 'https://elsewhere.example.com', 'parcels:read'"])),
        .. Rows("policy (id)",
            ("policy_pkey", ["true"]),
            ("policy_is_one_row", ["false"])),
        .. Rows("policy (id, max_secret_age, max_overlap, min_digest_cost)",
            ("policy_max_secret_age_range", ["true, '23 hours', '1 day', 8192", "true, '3651 days', '1 day', 8192"]),
            ("policy_max_overlap_range", ["true, null, '-1 second', 8192", "true, null, '366 days', 8192"]),
            ("policy_min_digest_cost_range", ["true, null, '1 day', 8191", "true, null, '1 day', 655361"])),
        .. Rows("credential_use (kind, credential_id, client_id, first_used_at, last_used_at, use_count)",
            ("credential_use_pkey", ["'secret', 'UsedUsedUsed', 'billing', now(), now(), 1"]),
            ("credential_use_client_fkey", ["'secret', 'CCCCCCCCCCCC', 'nobody', now(), now(), 1"]),
            ("credential_use_kind_known", ["'password', 'CCCCCCCCCCCC', 'billing', now(), now(), 1"]),
            ("credential_use_dates_in_order", ["'secret', 'CCCCCCCCCCCC', 'billing', now(), now() - interval '1 second', 1"]),
            ("credential_use_count_positive", ["'secret', 'CCCCCCCCCCCC', 'billing', now(), now(), 0"])),
        .. Rows("scope_use (resource, client_id, scope, first_used_at, last_used_at, use_count)",
            ("scope_use_pkey", ["'https://api.example.com', 'billing', 'parcels:read', now(), now(), 1"]),
            ("scope_use_client_scope_fkey",
                [
                    "'https://api.example.com', 'billing', 'nothing', now(), now(), 1",
                    "'https://api.example.com', 'nobody', 'parcels:read', now(), now(), 1",
                    "'https://elsewhere.example.com', 'billing', 'parcels:read', now(), now(), 1",
                ]),
            ("scope_use_dates_in_order", ["'https://api.example.com', 'billing', 'nothing', now(), now() - interval '1 second', 1"]),
            ("scope_use_count_positive", ["'https://api.example.com', 'billing', 'nothing', now(), now(), 0"])),
        .. Rows("audit_log (at, user_name, application_name, table_name, id, operation, hash)",
            ("audit_log_pkey", ["now(), '', '', '', 1, 'INSERT', sha256('')"]),
            ("audit_log_operation_known", ["now(), '', '', '', 0, 'SELECT', sha256('')"]),
            ("audit_log_hash_length", ["now(), '', '', '', 0, 'INSERT', ''"])),
        .. Rows(
            "signing_key (sealing_key_id, sealed_private_key, kid, alg, public_jwk, published_at, known_from, signs_from, signs_until, "
            + "jwks_max_age_seconds, max_token_lifetime_seconds)",
            ("signing_key_pkey", ["'test', '', 'used', 'ES256', '{}', now(), now(), now(), null, 300, 0"]),
            ("signing_key_alg_known",
                [
                    "'test', '', 'a', 'none', '{}', now(), now(), now(), null, 300, 0",
                    "'test', '', 'a', 'HS256', '{}', now(), now(), now(), null, 300, 0",
                ]),
            ("signing_key_public_jwk_is_public",
                [
                    "'test', '', 'a', 'ES256', '[]', now(), now(), now(), null, 300, 0",
                    .. PrivateMembers.Select(member =>
                        $$"""'test', '', 'a', 'ES256', '{"{{member}}": ""}', now(), now(), now(), null, 300, 0"""),
                ]),
            ("signing_key_public_jwk_depth",
                [$"'test', '', 'a', 'ES256', '{{\"x\": {Nested("[", 16, "]")}}}', now(), now(), now(), null, 300, 0"]),
            ("signing_key_dates_in_order",
                [
                    "'test', '', 'a', 'ES256', '{}', now(), now(), now() - interval '1 second', null, 300, 0",
                    "'test', '', 'a', 'ES256', '{}', now(), now() - interval '1 second', now(), null, 300, 0",
                    "'test', '', 'a', 'ES256', '{}', now(), now(), now(), now() - interval '1 second', 300, 0",
                ]),
            ("signing_key_can_sign", ["'test', null, 'a', 'ES256', '{}', now(), now(), now(), null, 300, 0"]),
            ("signing_key_jwks_max_age_range",
                [
                    "'test', '', 'a', 'ES256', '{}', now(), now(), now(), null, 0, 0",
                    "'test', '', 'a', 'ES256', '{}', now(), now(), now(), null, 86401, 0",
                ]),
            ("signing_key_max_token_lifetime_range",
                [
                    "'test', '', 'a', 'ES256', '{}', now(), now(), now(), null, 300, -1",
                    "'test', '', 'a', 'ES256', '{}', now(), now(), now(), null, 300, 86401",
                ])),
        .. Rows("migration (number, name, checksum, applied_at)", ("migration_dates_representable", ["99, 'a', '', 'infinity'"])),
        .. Rows("functions_file (name, checksum, applied_at)", ("functions_file_dates_representable", ["'a', '', 'infinity'"])),
        .. Rows("policy (usage_counted_since)", ("policy_dates_representable", ["'infinity'"])),
        .. Rows("client (id, name, created_at)", ("client_dates_representable", ["'a', 'x', 'infinity'"])),
        .. Rows("resource (id, created_at)", ("resource_dates_representable", ["'https://other.example.com', 'infinity'"])),
        .. Rows("scope (resource, name, created_at)", ("scope_dates_representable", ["'https://api.example.com', 'a', 'infinity'"])),
        .. Rows("client_scope (client_id, resource, scope, created_at)",
            ("client_scope_dates_representable", ["'billing', 'https://api.example.com', 'a', 'infinity'"])),
        .. Rows("resource_server (client_id, resource, created_at)",
            ("resource_server_dates_representable", ["'billing', 'https://other.example.com', 'infinity'"])),
        .. Rows(
            "signing_key (sealing_key_id, sealed_private_key, kid, alg, public_jwk, published_at, known_from, signs_from, "
            + "jwks_max_age_seconds, ends_by)",
            ("signing_key_ends_by_representable", ["'test', '', 'a', 'ES256', '{}', now(), now(), now(), 300, 'infinity'"])),
        .. Rows(
            "signing_key (sealing_key_id, sealed_private_key, kid, alg, public_jwk, published_at, known_from, signs_from, "
            + "jwks_max_age_seconds)",
            ("signing_key_dates_representable",
                [
                    "'test', '', 'a', 'ES256', '{}', '-infinity', now(), now(), 300",
                    "'test', '', 'a', 'ES256', '{}', now(), now(), '20000-01-01Z', 300",
                ])),
        .. Rows("verified_secret",
            ("verified_secret_pkey", ["'UsedUsedUsed', sha256(''), 'test', now()"]),
            ("verified_secret_secret_fkey", ["'CCCCCCCCCCCC', sha256(''), 'test', now()"]),
            ("verified_secret_is_generated", ["'imported_AAAAAAAAAAAA', sha256(''), 'test', now()"]),
            ("verified_secret_mac_length", ["'UsedUsedUsed', '', 'test', now()"]),
            ("verified_secret_dates_representable", ["'UsedUsedUsed', sha256(''), 'test', 'infinity'"])),
        .. Rows("self_revocation",
            ("self_revocation_pkey", ["'billing', now()"]),
            ("self_revocation_dates_representable", ["'a', 'infinity'", "'a', '-infinity'", "'a', '20270-01-01'"])),
        .. Rows("audit_pending (id, entry) overriding system value",
            ("audit_pending_pkey", [$"7, {Entry}), (7, {Entry}"])),
        .. Rows("revoked_token (jti, client_id, expires_at)", ("revoked_token_dates_representable", ["'a', 'billing', 'infinity'"])),
        .. Rows("credential_use (kind, credential_id, client_id, first_used_at, last_used_at, use_count)",
            ("credential_use_dates_representable", ["'secret', 'CCCCCCCCCCCC', 'billing', now(), 'infinity', 1"])),
        .. Rows("scope_use (resource, client_id, scope, first_used_at, last_used_at, use_count)",
            ("scope_use_dates_representable", ["'https://api.example.com', 'billing', 'nothing', now(), 'infinity', 1"])),
        .. Rows("audit_log (at, user_name, application_name, table_name, id, operation, hash)",
            ("audit_log_dates_representable", ["'infinity', '', '', '', 0, 'INSERT', sha256('')"])),
    ];

    [OneTimeSetUp]
    public Task CreateRows() => Database.ExecuteAsync(
        """
        insert into token_service.signing_key (
            kid, alg, public_jwk, sealed_private_key, sealing_key_id, published_at, known_from, signs_from, jwks_max_age_seconds)
        values ('used', 'ES256', '{}', '', 'test', now(), now(), now(), 300);

        insert into token_service.resource_server (client_id, resource) values ('billing', 'https://api.example.com');
        insert into token_service.revoked_token (jti, client_id, expires_at) values ('used', 'billing', now());
        insert into token_service.tokens_not_before values ('billing', now());
        insert into token_service.self_revocation values ('billing', now());
        insert into token_service.verified_secret values ('UsedUsedUsed', sha256(''), 'test', now());
        insert into token_service.credential_use values ('secret', 'UsedUsedUsed', 'billing', now(), now(), null, 1);
        insert into token_service.scope_use values ('billing', 'https://api.example.com', 'parcels:read', now(), now(), 1);
        insert into token_service.used_jti values (sha256('used'), now());
        insert into token_service.client_key (client_id, kid, alg, public_jwk) values ('billing', 'used', 'ES256', '
        """ + PublicJwk.P256 + "')");

    [TestCaseSource(nameof(RefusedRows))]
    public void A_row_is_refused_by_the_constraint_whose_name_says_why(string constraint, string insert) =>
        Assert.That(
            () => Database.ExecuteAsync(insert),
            Throws.InstanceOf<PostgresException>().With.Property(nameof(PostgresException.ConstraintName)).EqualTo(constraint));

    [Test]
    public async Task A_date_that_not_every_reader_can_represent_is_refused_in_every_column()
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        var columns = await connection.QueryAsync<(string Table, string Column)>(
            """
            select table_name, column_name
            from information_schema.columns
            join information_schema.tables using (table_schema, table_name)
            where table_schema = 'token_service'
              and table_type = 'BASE TABLE'
              and data_type like '%time%'
              and (table_name, column_name) <> ('signing_key', 'gone_after') -- a trigger computes it from the others
            """);
        using (Assert.EnterMultipleScope())
        {
            foreach (var (table, column) in columns)
            {
                foreach (var date in new[] { "infinity", "-infinity", "1899-12-31Z", "20000-01-01Z" })
                {
                    // A trigger keeps a date of last use from going back.
                    var expected = column == "last_used_at" && IsBefore1900(date) ? null : PostgresErrorCodes.CheckViolation;
                    var update = $"update token_service.{table} set {column} = '{date}'";
                    Assert.That(await RefusalOfAsync(update), Is.EqualTo(expected), update);
                    var select = $"select count(*) from token_service.{table} where {column} = '{date}'";
                    Assert.That(await Database.ReadAsync<int>(select), Is.Zero, update);
                }
            }
        }
    }

    private static bool IsBefore1900(string date) => date is "-infinity" or "1899-12-31Z";

    private async Task<string?> RefusalOfAsync(string sql)
    {
        try
        {
            await Database.ExecuteAsync(sql);
            return null;
        }
        catch (PostgresException e)
        {
            return e.SqlState;
        }
    }

    [Test]
    public async Task Every_constraint_has_a_row_that_it_refuses()
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        var constraints = await connection.QueryAsync<string>(
            """
            select conname from pg_constraint
            where connamespace = 'token_service'::regnamespace
              and contype in ('c', 'f', 'p', 'u', 'x')
            """);
        Assert.That(RefusedRows().Select(row => row.Arguments[0]).Distinct(), Is.EquivalentTo(constraints));
    }

    [Test]
    public async Task Every_table_column_and_function_has_a_comment()
    {
        await using var connection = await Database.Source.OpenConnectionAsync();
        var uncommented = await connection.QueryAsync<string>(
            """
            select c.relname || coalesce('.' || a.attname, '')
            from pg_class c
            left join pg_attribute a on a.attrelid = c.oid and a.attnum >= 0 and not a.attisdropped
            where c.relnamespace = 'token_service'::regnamespace
              and c.relkind in ('r', 'p', 'v', 'm')
              and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)
            union all
            select proname || '()' from pg_proc
            where pronamespace = 'token_service'::regnamespace
              and obj_description(oid, 'pg_proc') is null
            """);
        Assert.That(uncommented, Is.Empty);
    }

    private static IEnumerable<TestCaseData> Rows(string table, params (string Constraint, string[] Values)[] refused) =>
        from r in refused
        from values in r.Values
        select new TestCaseData(r.Constraint, $"insert into token_service.{table} values ({values})")
            .SetArgDisplayNames(r.Constraint, values);
}
