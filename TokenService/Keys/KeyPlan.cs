namespace TokenService.Keys;

/// <summary>One change to the signing keys.</summary>
internal abstract record KeyStep
{
    /// <summary>Make a key with these dates.</summary>
    public sealed record Make(
        string Algorithm,
        DateTimeOffset PublishedAt,
        DateTimeOffset KnownFrom,
        DateTimeOffset SignsFrom,
        DateTimeOffset EndsBy,
        TimeSpan JwksMaxAge,
        TimeSpan MaxTokenLifetime) : KeyStep;

    /// <summary>Let a key sign from an instant on, earlier than planned.</summary>
    public sealed record Begin(string Kid, DateTimeOffset From) : KeyStep;

    /// <summary>
    /// Let a key stop signing at an instant. A key that would begin to sign later than that never signs.
    /// </summary>
    public sealed record End(string Kid, DateTimeOffset Until) : KeyStep;
}

/// <summary>
/// Decides which changes the keys need at an instant, so that each algorithm in use always has one key that signs and
/// one published key that signs next. It is pure. Settings matter only when a key is made; later changes of the
/// settings do not move the dates of existing keys.
/// </summary>
/// <param name="Default">The algorithm of tokens for resources that do not ask for one: a setting of this replica.</param>
/// <param name="OfResources">The algorithms that resources ask for: all replicas read the same from the database.</param>
/// <param name="SigningPeriod">How long a key signs.</param>
/// <param name="JwksMaxAge">How long verifiers may keep the JWKS.</param>
internal sealed record KeyPlan(
    string Default, IReadOnlyCollection<string> OfResources, TimeSpan SigningPeriod, TimeSpan JwksMaxAge)
{
    /// <summary>How far apart the clocks of two replicas may be.</summary>
    public static readonly TimeSpan ClockMargin = TimeSpan.FromMinutes(1);

    /// <summary>
    /// How late a replica may learn of a change. It polls every few seconds, but the database may be unavailable for a
    /// while.
    /// </summary>
    public static readonly TimeSpan LearningTime = TimeSpan.FromMinutes(10);

    // From the planned end of a key until its EndsBy. A key signs for longer than planned when all replicas were down at
    // its planned end, and its last token lives for a day.
    private static readonly TimeSpan Margin = TimeSpan.FromDays(30);

    /// <summary>All algorithms in use, the default first.</summary>
    public IEnumerable<string> Wanted => OfResources.Prepend(Default).Distinct();

    /// <summary>
    /// The steps to take now; empty: nothing is due. After taking them, call again, because more may be due.
    /// </summary>
    public IReadOnlyList<KeyStep> StepsAt(DateTimeOffset now, KeyRing ring)
    {
        // The first start: no verifier has a JWKS yet, so the first key of each algorithm signs at once.
        if (ring.Keys.Count == 0)
            return [.. Wanted.Select(algorithm => Make(now, ring, algorithm, signsFrom: now))];

        foreach (var algorithm in Wanted)
        {
            if (Extend(now, ring, algorithm) is { Count: > 0 } steps)
                return steps;
        }

        return EndUnwanted(now, ring);
    }

    /// <summary>
    /// How long after its publication every verifier has a new key: the longest max-age of a JWKS without it that a
    /// verifier may still keep, the time until every replica publishes it, and the difference of clocks.
    /// </summary>
    public TimeSpan PublicationTime(KeyRing ring) =>
        ring.Keys.Select(key => key.JwksMaxAge).Append(JwksMaxAge).Max() + LearningTime + 2 * ClockMargin;

    private List<KeyStep> Extend(DateTimeOffset now, KeyRing ring, string algorithm)
    {
        var published = ring.Keys.Where(key => key.Algorithm == algorithm && key.IsPublishedAt(now)).ToList();
        var alive = published.Where(key => !key.HasEndedAt(now)).ToList();
        var knownFrom = now + PublicationTime(ring);
        var signing = algorithm == Default ? ring.SigningByDefault(now, Default) : ring.SigningOf(algorithm, now);

        // No key can sign, because all were withdrawn. The new key signs at once.
        if (signing is null && algorithm == Default)
            return [Make(now, ring, algorithm, signsFrom: now)];

        // No key of this algorithm will sign. If ended keys of a default are still published, a replica with other
        // settings has just ended them; making a key now would start a contest between the two replicas. Otherwise the
        // algorithm is new, or a resource asks for it again: make its first key.
        if (alive.Count == 0)
        {
            return published.Count == 0 || OfResources.Contains(algorithm)
                ? [Make(now, ring, algorithm, knownFrom)]
                : [];
        }

        // The key that signed was withdrawn. The next key begins once every verifier has it. The default's begins at
        // once if no other key can sign.
        var (first, newest) = (alive[0], alive[^1]);
        if (!first.HasBegunAt(now))
        {
            var signsAlready = signing?.Kid == first.Kid;
            var from = Later(now, signsAlready ? first.PublishedAt : first.KnownFrom);
            return from < first.SignsFrom ? [new KeyStep.Begin(first.Kid, from)] : [];
        }

        // The newest has begun, so it needs a successor, which is published for a whole signing period before it signs.
        if (newest.HasBegunAt(now))
        {
            // The seal keeps a key from signing for longer than was planned when it was made.
            var end = newest.SignsFrom + SigningPeriod;
            if (newest.EndsBy is { } endsBy && endsBy - Margin < end)
                end = endsBy - Margin;
            var successor = Make(now, ring, algorithm, Later(knownFrom, end));
            return [new KeyStep.End(newest.Kid, successor.SignsFrom), successor];
        }

        return [];
    }

    private KeyStep.Make Make(DateTimeOffset now, KeyRing ring, string algorithm, DateTimeOffset signsFrom) => new(
        algorithm,
        PublishedAt: now,
        KnownFrom: now + PublicationTime(ring),
        SignsFrom: signsFrom,
        EndsBy: DateTimeOffset.FromUnixTimeSeconds((signsFrom + SigningPeriod + Margin).ToUnixTimeSeconds()),
        JwksMaxAge: JwksMaxAge,
        // The longest lifetime so far, so that after a change of keys no token has to record its lifetime again.
        MaxTokenLifetime: ring.Keys.Select(key => key.MaxTokenLifetime).DefaultIfEmpty().Max());

    // Keys of an algorithm that is not in use any more end once a key of the default algorithm signs in their place.
    private List<KeyStep> EndUnwanted(DateTimeOffset now, KeyRing ring)
    {
        // If the keys of the default algorithm leave a gap, or every one of them has an end, a replica with other settings
        // is ending them. Then this replica ends no key, so that the two do not end each other's.
        var signing = ring.SigningByDefault(now, Default);
        if (signing?.Algorithm != Default || !signing.HasBegunAt(now) || !IsFollowedWithoutGap(signing, ring))
            return [];

        return [.. ring.Keys
            .Where(key => !Wanted.Contains(key.Algorithm) && !key.HasEndedAt(now))
            // A key never ends before it is published. A replica whose clock is ahead may have set PublishedAt in the
            // future.
            .Select(key => (Key: key, Until: Later(now, key.PublishedAt)))
            .Where(end => end.Key.SignsUntil is null || end.Key.SignsUntil > end.Until)
            .Select(end => new KeyStep.End(end.Key.Kid, end.Until))];
    }

    private static bool IsFollowedWithoutGap(SigningKey key, KeyRing ring)
    {
        for (var last = key; last is not null; last = ring.Keys.FirstOrDefault(next =>
            next.Algorithm == last.Algorithm && next.WithdrawnAt is null && next.SignsFrom <= last.SignsUntil
            && (next.SignsUntil is null || next.SignsUntil > last.SignsUntil)))
        {
            if (last.SignsUntil is null)
                return true;
        }

        return false;
    }

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;
}
