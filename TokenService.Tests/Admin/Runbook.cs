using System.Text.RegularExpressions;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary>
/// An admin who has read nothing else follows <c>scripts/README.md</c> or <c>scripts/KEYS.md</c> from top to bottom.
/// Every psql command in it runs as printed, and so does every command that makes a client's key. Where the page prints
/// an output, the command prints the same lines: only dates, secrets, keys and random ids differ.
/// </summary>
[TestFixture]
public sealed partial class Runbook
{
    // The events that the runbook's story assumes before a section: time passes, and clients use their secrets.
    private static readonly Dictionary<string, string> Meanwhile = new()
    {
        ["**3. See whether the old secret is still used.**"] = """
            update token_service.client_secret
            set created_at = created_at - interval '1 day',
                not_before = not_before - interval '1 day',
                expires_at = expires_at - interval '1 day';
            insert into token_service.credential_use (
                kind, credential_id, client_id, first_used_at, last_used_at, last_used_from, use_count)
            select 'secret', id, client_id,
                   created_at,
                   now() - case when label is null then interval '50 minutes' else interval '2 minutes' end,
                   case when label is null then '10.0.3.7' else '10.0.3.8' end::inet,
                   case when label is null then 41 else 1207 end
            from token_service.client_secret;
            """,
        ["**4. Wait until the report says `safe to retire`.**"] = """
            update token_service.client_secret
            set created_at = created_at - interval '9 days',
                not_before = not_before - interval '9 days',
                expires_at = expires_at - interval '9 days';
            update token_service.credential_use
            set first_used_at = first_used_at - interval '9 days', last_used_at = last_used_at - interval '8 days'
            where last_used_from = '10.0.3.7';
            """,
        ["## Unused secrets"] = """
            update token_service.client_secret
            set created_at = created_at - interval '40 days', not_before = not_before - interval '40 days'
            where label = 'after the leak';
            insert into token_service.credential_use (
                kind, credential_id, client_id, first_used_at, last_used_at, last_used_from, use_count)
            select 'secret', id, client_id, now() - interval '39 days', now() - interval '35 days', '10.0.3.7', 96
            from token_service.client_secret
            where label = 'after the leak';
            """,
        ["## Least privilege"] = """
            update token_service.client set created_at = now() - interval '200 days';
            update token_service.client_scope set created_at = now() - interval '200 days';
            insert into token_service.credential_use (
                kind, credential_id, client_id, first_used_at, last_used_at, last_used_from, use_count)
            select 'secret', id, client_id, now() - interval '1 day', now() - interval '3 minutes', '10.0.3.9', 3
            from token_service.client_secret
            where label = 'second data centre';
            insert into token_service.scope_use (client_id, resource, scope, first_used_at, last_used_at, use_count)
            values ('billing', 'https://api.example.com', 'invoices:read', now() - interval '90 days', now() - interval '3 minutes',
                1251);
            """,
        ["**2. See which of the two is used**"] = """
            update token_service.client_secret
            set created_at = created_at - interval '40 days', not_before = not_before - interval '40 days';
            update token_service.client_key
            set created_at = created_at - interval '10 days', not_before = not_before - interval '10 days'
            where client_id = 'payroll';
            insert into token_service.credential_use (
                kind, credential_id, client_id, first_used_at, last_used_at, last_used_from, use_count)
            select 'secret', id, client_id, created_at, now() - interval '8 days', '10.0.3.7'::inet, 41
            from token_service.client_secret
            union all
            select 'key', client_id || ' ' || kid, client_id, created_at, now() - interval '2 minutes', '10.0.3.8'::inet, 1207
            from token_service.client_key
            where client_id = 'payroll';
            """,
    };

    private string folder = null!;

    // The pages run scripts by a path relative to the checkout, and make files, which do not belong there.
    [SetUp]
    public void MakeFolder()
    {
        folder = Directory.CreateTempSubdirectory("runbook").FullName;
        Directory.CreateSymbolicLink(Path.Combine(folder, "scripts"), Repository.PathTo("scripts"));
    }

    [TearDown]
    public void DeleteFolder() => Directory.Delete(folder, recursive: true);

    // The page, and how many commands and printed outputs are found in it at least.
    [TestCase("README.md", 20, 15)]
    [TestCase("KEYS.md", 15, 10)]
    public async Task Every_command_of_the_runbook_works_as_printed(string page, int minCommands, int minOutputs)
    {
        await using var database = await Database.CreateAsync();
        // The random ids and hashes that the runbook prints, and the ones that came back in their place.
        var real = new Dictionary<string, string>();
        var commands = 0;
        var outputs = 0;

        foreach (Match step in Step().Matches(await File.ReadAllTextAsync(Repository.PathTo("scripts", page))))
        {
            if (Meanwhile.TryGetValue(step.Value, out var happened))
                await database.ExecuteAsync(happened);
            if (step.Groups["command"] is not { Success: true, Value: var command })
                continue;

            commands++;
            var shown = step.Groups["output"].Value;
            var ours = Random().Replace(command, match => real.GetValueOrDefault(match.Value, match.Value));
            var psql = await Psql.ShellAsync(database, InFolder(ours));
            var came = psql.Error + psql.Output;
            await KeepPublicJwkAsync(came);
            var isRefused = shown.Contains("ERROR:  ", StringComparison.Ordinal);
            Assert.That(psql.ExitCode, Is.EqualTo(isRefused ? Psql.ScriptFailed : 0), came);
            // The runbook leaves out a table that repeats another one.
            if (shown.Trim() is "")
                continue;

            outputs++;
            IsSame(command, shown, came);
            foreach (var (printed, made) in Random().Matches(shown).Zip(Random().Matches(came)))
                real[printed.Value] = made.Value;
        }

        Assert.That(commands, Is.GreaterThanOrEqualTo(minCommands), "the runbook's commands were found");
        Assert.That(outputs, Is.GreaterThanOrEqualTo(minOutputs), "the outputs that the runbook prints were found");
    }

    [Test]
    public async Task Every_script_is_in_the_runbook()
    {
        var runbook = await File.ReadAllTextAsync(Repository.PathTo("scripts", "README.md"))
            + await File.ReadAllTextAsync(Repository.PathTo("scripts", "KEYS.md"));
        Assert.That(
            Directory.EnumerateFiles(Repository.PathTo("scripts"), "*.sql").Select(Path.GetFileName)
                .Where(script => !runbook.Contains(script!, StringComparison.Ordinal)),
            Is.Empty);
    }

    // A terminal shows what TokenService writes in the order in which it was written.
    private string InFolder(string command) =>
        $"cd '{folder}' && "
        + (command.StartsWith("TokenService", StringComparison.Ordinal) ? $"$TOKEN_SERVICE{command["TokenService".Length..]} 2>&1" : command);

    // The admin has the public half in a file named after the kid.
    private async Task KeepPublicJwkAsync(string output)
    {
        if (PublicHalf().Match(output) is { Success: true } made)
            await File.WriteAllTextAsync(Path.Combine(folder, $"{made.Groups[1]}.pub.jwk"), made.Groups[2].Value);
    }

    private static void IsSame(string command, string expected, string actual)
    {
        Assert.That(Normal(actual), Has.Length.EqualTo(Normal(expected).Length), $"{command}\n{actual}");
        foreach (var (shown, came) in Normal(expected).Zip(Normal(actual)))
        {
            // A value that the runbook cuts short, such as a secret.
            if (shown.EndsWith('…'))
                Assert.That(came, Does.StartWith(shown[..^1]), command);
            else
                Assert.That(came, Is.EqualTo(shown), command);
        }
    }

    private static string[] Normal(string output) =>
    [
        .. output.TrimEnd('\n').Split('\n').Select(line =>
        {
            var said = Psql.Date().Replace(Where().Replace(line, ""), "2026-01-01 00:00:00+00");
            said = Who().Replace(Ruler().Replace(said, "$1"), "$1 | …");
            return Random().Replace(said, match => new string('x', match.Length)).TrimEnd();
        }),
    ];

    // One of three things: a command with the output printed under it, a heading, or the beginning of a numbered
    // paragraph.
    [GeneratedRegex(
        @"^\$ (?<command>(?:psql|TokenService client-key) (?:.*\\\n)*.*)\n(?<output>(?:(?!```|\$ ).*\n)*)|^(?:#+ .*|\*\*\d\. .*?\*\*)",
        RegexOptions.Multiline)]
    private static partial Regex Step();

    [GeneratedRegex(@"^kid=(.*)\nalg=.*\npublic_jwk=(.*)$", RegexOptions.Multiline)]
    private static partial Regex PublicHalf();

    // Ids of secrets, and hashes.
    [GeneratedRegex(@"\b(?:[0-9A-Za-z]{12}|[0-9a-f]{64})\b")]
    private static partial Regex Random();

    [GeneratedRegex(@"^psql:\S+:\d+: ")]
    private static partial Regex Where();

    [GeneratedRegex(@"^(user_name|client_address) +\| .*$")]
    private static partial Regex Who();

    // The ruler is as wide as the user's name.
    [GeneratedRegex(@"^(-\[ RECORD 1 \])[-+]*$")]
    private static partial Regex Ruler();
}
