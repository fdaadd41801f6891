using TokenService.Protocol;

namespace TokenService.Secrets;

/// <summary>A secret that a caller presents and that is not verified yet.</summary>
/// <param name="Value">The secret itself.</param>
/// <param name="Selector">
/// The id of the row that it names; null: it names none, because it is from another system.
/// </param>
/// <param name="IsDamaged">
/// True when it has the prefix of a generated secret and a wrong checksum, so no client has it.
/// </param>
internal sealed record PresentedSecret(string Value, string? Selector, bool IsDamaged)
{
    /// <summary>
    /// The secret as it was sent, without decoding; null: the same. A client that does not form-encode its secret means
    /// this one.
    /// </summary>
    public string? Undecoded { get; private init; }

    /// <summary>A defect that its form shows, for the event log; null: there is none.</summary>
    public string? Defect => LineBreak.Ends(Value) ? "the secret ends in a line break" : null;

    public static PresentedSecret Parse(string value, string? undecoded = null)
    {
        if (!GeneratedSecret.HasPrefix(value))
            return new PresentedSecret(value, Selector: null, IsDamaged: false) { Undecoded = undecoded };
        var isWhole = GeneratedSecret.TryReadSelector(value, out var selector);
        return new PresentedSecret(value, selector, IsDamaged: !isWhole);
    }

    /// <summary>True when only hashing can tell whether it is the secret of this row.</summary>
    public bool CanBe(ClientSecret row) => Selector is null ? row.IsImported : row.Id == Selector;

    // A record's own ToString would print the secret into any log that is handed one of these.
    public override string ToString() => Selector ?? "…";
}
