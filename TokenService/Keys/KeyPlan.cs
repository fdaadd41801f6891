namespace TokenService.Keys;

/// <summary>One thing to do to the keys.</summary>
internal abstract record KeyStep
{
    /// <summary>Make a key with these dates.</summary>
    public sealed record Make(
        string Algorithm,
        DateTimeOffset PublishedAt,
        DateTimeOffset KnownFrom,
        DateTimeOffset SignsFrom,
        TimeSpan JwksMaxAge,
        TimeSpan MaxTokenLifetime) : KeyStep;

    /// <summary>Let a key sign from an instant on, sooner than was planned.</summary>
    public sealed record Begin(string Kid, DateTimeOffset From) : KeyStep;

    /// <summary>Let a key sign no more from an instant on. One that has not begun by then never signs.</summary>
    public sealed record End(string Kid, DateTimeOffset Until) : KeyStep;
}

/// <summary>
/// What is to be done to the keys at an instant, so that each algorithm in use always has one key that signs and one that is
/// known to every verifier and will sign next. Pure. Settings speak only where a key is made: dates once set stand.
/// </summary>
/// <param name="Default">The algorithm of tokens for resources that ask for none.</param>
/// <param name="Wanted">All algorithms in use, the default among them.</param>
/// <param name="SigningPeriod">How long a key signs.</param>
/// <param name="JwksMaxAge">How long verifiers may keep the JWKS.</param>
internal sealed record KeyPlan(string Default, IReadOnlyCollection<string> Wanted, TimeSpan SigningPeriod, TimeSpan JwksMaxAge)
{
    /// <summary>How far apart the clocks of two replicas may be.</summary>
    public static readonly TimeSpan ClockMargin = TimeSpan.FromMinutes(1);

    /// <summary>How late a replica learns of a change: it polls every few seconds, but may find the database away for a while.</summary>
    public static readonly TimeSpan LearningTime = TimeSpan.FromMinutes(10);

    /// <summary>What to do first; empty: nothing is due. Ask again once it is done.</summary>
    public IReadOnlyList<KeyStep> StepsAt(DateTimeOffset now, KeyRing ring)
    {
        foreach (var algorithm in Wanted)
        {
            if (Extend(now, ring, algorithm) is { Count: > 0 } steps)
                return steps;
        }

        return EndUnwanted(now, ring);
    }

    private List<KeyStep> Extend(DateTimeOffset now, KeyRing ring, string algorithm)
    {
        var line = ring.Keys.Where(key => key.Algorithm == algorithm && key.IsPublishedAt(now)).ToList();
        var alive = line.Where(key => !key.HasEndedAt(now)).ToList();
        var knownFrom = now + Wait(ring);

        // The very first key, or all were withdrawn: nothing else could sign, so it does at once.
        if (ring.SigningAt(now, algorithm, Default) is null)
            return [Make(now)];

        // An algorithm nobody has used yet. While keys of it are on their way out, a replica with other settings has just ended
        // them: wait until the two agree instead of making keys against each other.
        if (alive.Count == 0)
            return line.Count == 0 ? [Make(knownFrom)] : [];

        // The key that signed was withdrawn: the next begins as soon as every verifier has it, or at once where it alone can sign.
        var (first, newest) = (alive[0], alive[^1]);
        if (!first.HasBegunAt(now))
        {
            var signsAlready = ring.SigningAt(now, algorithm, Default)!.Kid == first.Kid;
            var from = Later(now, signsAlready ? first.PublishedAt : first.KnownFrom);
            return from < first.SignsFrom ? [new KeyStep.Begin(first.Kid, from)] : [];
        }

        // The newest has begun, so it needs a successor, which is published for a whole signing period before it signs.
        if (newest.HasBegunAt(now))
        {
            var successor = Make(Later(knownFrom, newest.SignsFrom + SigningPeriod));
            return [new KeyStep.End(newest.Kid, successor.SignsFrom), successor];
        }

        return [];

        KeyStep.Make Make(DateTimeOffset signsFrom) => new(
            algorithm,
            PublishedAt: now,
            KnownFrom: knownFrom,
            SignsFrom: signsFrom,
            JwksMaxAge: JwksMaxAge,
            // Its predecessors' mark: so a change of keys raises none.
            MaxTokenLifetime: ring.Keys.Select(key => key.MaxTokenLifetime).DefaultIfEmpty().Max());
    }

    /// <summary>Once the default algorithm signs, keys of one that is not in use any more have nothing to do.</summary>
    private List<KeyStep> EndUnwanted(DateTimeOffset now, KeyRing ring)
    {
        var signing = ring.SigningAt(now, Default, Default);
        // A key without an end follows: no replica with other settings has ended the default's in its turn.
        var goesOn = ring.Keys.Any(key => key.Algorithm == Default && key is { SignsUntil: null, WithdrawnAt: null });
        if (signing?.Algorithm != Default || !signing.HasBegunAt(now) || !goesOn)
            return [];

        return [.. ring.Keys
            .Where(key => !Wanted.Contains(key.Algorithm) && !key.HasEndedAt(now))
            // Nothing happens to a key before it is published, which another clock may have put into our future.
            .Select(key => (Key: key, Until: Later(now, key.PublishedAt)))
            .Where(end => end.Key.SignsUntil is null || end.Key.SignsUntil > end.Until)
            .Select(end => new KeyStep.End(end.Key.Kid, end.Until))];
    }

    // Any JWKS without the new key that somebody still keeps was served with at most one of these ages.
    private TimeSpan Wait(KeyRing ring) =>
        ring.Keys.Select(key => key.JwksMaxAge).Append(JwksMaxAge).Max() + LearningTime + 2 * ClockMargin;

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;
}
