namespace TokenService.Secrets;

/// <summary>A secret that a caller presents, before anybody knows whether it is right.</summary>
/// <param name="Value">The secret.</param>
/// <param name="Selector">The id of the row that it names; null: it names none, as a secret from another system does.</param>
/// <param name="IsDamaged">True when it has our prefix, and its checksum is wrong: no client has it.</param>
internal sealed record PresentedSecret(string Value, string? Selector, bool IsDamaged)
{
    public static PresentedSecret Parse(string value)
    {
        if (!GeneratedSecret.HasPrefix(value))
            return new PresentedSecret(value, Selector: null, IsDamaged: false);
        var isWhole = GeneratedSecret.TryReadSelector(value, out var selector);
        return new PresentedSecret(value, selector, IsDamaged: !isWhole);
    }

    /// <summary>True when it can be the secret of this row, as far as that can be told without hashing.</summary>
    public bool CanBe(ClientSecret row) => Selector is null ? row.IsImported : row.Id == Selector;

    // A record's own ToString would print the secret into any log that is handed one of these.
    public override string ToString() => Selector ?? "…";
}
