using System.Text;

namespace TokenService.Commands;

/// <summary>
/// Says for each client of an export what becomes of it, without its secret.
/// </summary>
internal sealed class ImportReport(TextWriter output)
{
    private int made;
    private int withNewSecret;
    private int there;
    private int differing;
    private int impossible;
    private int leftOut;

    /// <summary>True when a client of the file could not be brought, or is there in another form.</summary>
    public bool HasProblems => differing + impossible > 0;

    /// <param name="export">The contents of the file.</param>
    /// <param name="skipped">Ids of clients that the admin does not want.</param>
    public void Begin(ClientExport export, IReadOnlyList<string> skipped)
    {
        foreach (var note in export.Notes)
            output.WriteLine(Terminal.Shown($"Note: {note}"));
        foreach (var client in export.LeftOut)
            Line("left out", client.Id, $"{client.Place}: {client.Why}");
        foreach (var client in export.Clients.Where(client => skipped.Contains(client.Id)))
        {
            Line("left out", client.Id, $"{client.Place}: as you asked");
            leftOut++;
        }

        leftOut += export.LeftOut.Count;
    }

    public void Cannot(PlannedClient client, string why)
    {
        impossible++;
        Line("CANNOT", client.Id, $"{client.Place}: {why}");
    }

    public void Differs(PlannedClient client, IEnumerable<string> differences)
    {
        differing++;
        Line("DIFFERS", client.Id, $"{client.Place}: there is such a client, and it was left as it is: {string.Join("; ", differences)}");
    }

    public void IsThere(PlannedClient client, bool isShown)
    {
        there++;
        if (isShown)
            Line("is there", client.Id, "as it would be made");
    }

    /// <param name="isMade">False: this is a dry run.</param>
    public void Answered(PlannedClient client, ImportAnswer answer, bool isMade)
    {
        if (answer.Refusal is { } refusal)
        {
            // The functions of the database name the claim; the id in the file is the one that the option takes.
            var isAboutClaims = refusal.Contains("extra claims", StringComparison.Ordinal);
            Cannot(client, isAboutClaims ? $"{refusal} Without its claims: --no-claims-for {Shell.Quoted(client.IdInFile)}" : refusal);
            return;
        }

        made++;
        withNewSecret += client.Secret is null ? 1 : 0;
        if (isMade)
            return; // the dry run showed it
        Line("would make", client.Id, Described(client));
        foreach (var warning in client.Warnings.Concat(answer.Warnings))
            Line("", "", $"! {warning}");
    }

    public void End(bool isMade)
    {
        var (total, verb) = (made + there + differing + impossible + leftOut, isMade ? "made" : "would be made");
        output.WriteLine(
            $"{total} clients in the file: {made} {verb} ({withNewSecret} with a new secret), {there} there "
            + $"already, {differing} there but different, {impossible} impossible, {leftOut} left out.");
        if (isMade)
            return;
        if (made > 0)
            output.WriteLine("A scope in parentheses is granted only to a request that names it.");
        output.WriteLine(withNewSecret > 0
            ? "This was a dry run: nothing was changed. To make them, add --apply, and --secrets-file PATH for the new secrets."
            : "This was a dry run: nothing was changed. To make them, add --apply.");
    }

    public void IsNotReady(string algorithm) => output.WriteLine(
        $"Note: no {algorithm} key signs yet. Until one does, requests for an API with {algorithm} get 503: a running server makes the key "
        + "within seconds, and it signs Keys:JwksMaxAge and 12 minutes later (17 minutes by default).");

    private static string Described(PlannedClient client)
    {
        var text = new StringBuilder();
        text.Append(client.Name == client.Id ? "" : $"\"{client.Name}\", ");
        text.Append(client.IsEnabled ? "" : "disabled, ");
        text.Append(client.Secret is null ? $"new secret ({client.WhyNewSecret})" : "its secret");
        if (client.TokenLifetimeSeconds is { } seconds)
            text.Append($", tokens live {seconds} s");
        foreach (var resource in client.Scopes.GroupBy(scope => scope.Resource))
        {
            text.Append($"; {resource.Key}: ");
            text.AppendJoin(' ', resource.Select(scope => scope.IsDefault ? scope.Name : $"({scope.Name})"));
        }

        if (client.Scopes.Count == 0)
            text.Append("; no scopes, so it can only introspect");
        if (client.Claims != "{}")
            text.Append($"; claims {client.Claims}");
        return text.ToString();
    }

    private void Line(string what, string id, string text) => output.WriteLine(Terminal.Shown($"{what,-10}  {id}  {text}"));
}
