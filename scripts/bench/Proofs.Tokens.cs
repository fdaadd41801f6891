using Npgsql;

namespace TokenService.Bench;

internal sealed partial class Proofs
{
    private const string Tokens = "Tokens of one client, ES256, with their events, in turn";
    private const string Costs = "What is added to a token";

    /// <summary>Measures tokens for each kind of credential, without and with a DPoP proof, in turn, many times.</summary>
    private async Task MeasureTokensAsync(
        string connection, NpgsqlDataSource database, BenchClient secret, KeyClient es256, KeyClient ps256, CancellationToken ct)
    {
        Log("Tokens.");
        await using var server = await ServeAsync(Build.Jit, connection, secret, ct);
        var (esProof, psProof, secretProof) = (SigningKey.Create("ES256"), SigningKey.Create("ES256"), SigningKey.Create("ES256"));
        var bySecret = new TokenKind("secret", () => secret.Basic);
        var bySecretWithProof = new TokenKind("secret and proof", () => $"{secret.Basic} {secretProof.Proof()}");
        var byFreshKey = new TokenKind(
            "secret and proof, each of a fresh key", () => $"{secret.Basic} {SigningKey.Create("ES256").Proof()}");
        var byEs256 = new TokenKind("ES256 assertion", () => es256.Line());
        var byEs256WithProof = new TokenKind("ES256 assertion and proof", () => $"{es256.Line()} {esProof.Proof()}");
        var byPs256 = new TokenKind("PS256 assertion", () => ps256.Line());
        var byPs256WithProof = new TokenKind("PS256 assertion and proof", () => $"{ps256.Line()} {psProof.Proof()}");
        TokenKind[] kinds = [bySecret, byEs256, bySecretWithProof, byEs256WithProof, byFreshKey];
        if (!arguments.IsQuick)
            kinds = [.. kinds, byPs256, byPs256WithProof];

        await WarmUpAsync(server, await Wrk.FileAsync(Folder, "known", [secret], ct), ct);
        var usage = await PostgresUsage.FindAsync(database, ct);
        for (var i = 0; i < 2; i++)
        {
            foreach (var kind in kinds)
                await MeasureKindAsync(server, usage, kind, ct);
        }

        server.ForgetPeak();
        var rounds = new List<TokenRound>();
        for (var i = 0; i < arguments.Rounds; i++)
        {
            Log($"Round {i + 1} of {arguments.Rounds}.");
            var es = await MeasureCryptoAsync(0.5, ct, "verifications", "ES256");
            var ps = arguments.IsQuick ? default : await MeasureCryptoAsync(0.5, ct, "verifications", "PS256");
            var tokens = new Dictionary<TokenKind, TokenStretch>();
            foreach (var kind in kinds)
                tokens[kind] = await MeasureKindAsync(server, usage, kind, ct);
            rounds.Add(new TokenRound(1e6 / es.PerProcessorSecond, 1e6 / ps.PerProcessorSecond, tokens));
        }

        foreach (var kind in kinds)
        {
            Add(Tokens, $"{kind.Name}: processor time", round => round.Microseconds(kind), "us");
            Add(Tokens, $"{kind.Name}: tokens", round => round.Tokens[kind].Load.PerSecond, "/s");
        }

        Table.Add(new Row(
            Tokens, "refused or broken",
            rounds.Sum(round => round.Tokens.Values.Sum(token => token.Load.Result.Refused + token.Load.Result.Broken)), "", 0));
        Table.Add(new Row(Tokens, "resident, maximum", server.PeakMiB, "MiB", 200));

        Add(Costs, "V: verification, ES256, processor time", round => round.Es256, "us");
        Add(
            Costs, "ES256 assertion, beyond the two signatures",
            round => round.Microseconds(byEs256) - round.Microseconds(bySecret) - round.Es256, "us");
        Add(
            Costs, "proof beside a secret, beyond its verification",
            round => round.Microseconds(bySecretWithProof) - round.Microseconds(bySecret) - round.Es256, "us");
        Add(
            Costs, "proof beside an ES256 assertion, beyond its verification",
            round => round.Microseconds(byEs256WithProof) - round.Microseconds(byEs256) - round.Es256, "us");
        Add(
            Costs, "fresh key of a proof, beyond a known one",
            round => round.Microseconds(byFreshKey) - round.Microseconds(bySecretWithProof), "us");
        if (!arguments.IsQuick)
        {
            Add(Costs, $"V: verification, PS256, {SigningKey.RsaBits} bits, processor time", round => round.Ps256, "us");
            Add(
                Costs, "PS256 assertion, beyond the two signatures",
                round => round.Microseconds(byPs256) - round.Microseconds(bySecret) - round.Ps256, "us");
            Add(
                Costs, "proof beside a PS256 assertion, beyond its verification",
                round => round.Microseconds(byPs256WithProof) - round.Microseconds(byPs256) - round.Es256, "us");
        }

        foreach (var kind in kinds.Intersect([bySecret, byEs256, byPs256]))
        {
            Add(Costs, $"PostgreSQL, {kind.Name}: processor time of a token", round => round.Tokens[kind].PostgresMicroseconds, "us");
            Add(Costs, $"PostgreSQL, {kind.Name}: bytes of WAL of a token", round => round.Tokens[kind].WalBytes, "bytes");
        }

        void Add(string section, string what, Func<TokenRound, double> figure, string unit)
        {
            double[] figures = [.. rounds.Select(figure)];
            Table.Add(new Row(section, what, Median(figures), unit, Spread: Quartiles(figures)));
        }
    }

    /// <summary>Signs requests, and then measures a second of them.</summary>
    private async Task<TokenStretch> MeasureKindAsync(ServerProcess server, PostgresUsage usage, TokenKind kind, CancellationToken ct)
    {
        while (true)
        {
            var lines = MakeOnAllCores(kind.Lines, kind.Sign);
            var file = await Wrk.FileAsync(Folder, "kind", lines, ct);
            EmptyEvents();
            var before = await usage.ReadAsync(ct);
            var load = await StretchAsync(server, file, ct, isOnce: true);
            var after = await usage.ReadAsync(ct);
            kind.Expect(load.Result);
            // A second in which there was nothing left to send is measured again.
            if (!load.Result.Exhausted)
            {
                return new TokenStretch(
                    load, after.ProcessorTimeSince(before).TotalMicroseconds / load.Result.Requests,
                    (after.WalBytes - before.WalBytes) / (double)load.Result.Requests);
            }
        }
    }

    /// <param name="name">As the table has it.</param>
    /// <param name="sign">Makes a new request, as a line for wrk.</param>
    private sealed class TokenKind(string name, Func<string> sign)
    {
        private double mostInASecond = 4000;

        public string Name => name;

        public Func<string> Sign => sign;

        /// <summary>How many requests to sign for a second, which is more than were ever answered in one.</summary>
        public int Lines => (int)(mostInASecond * 1.25);

        public void Expect(WrkResult result) =>
            mostInASecond = Math.Max(mostInASecond, result.Exhausted ? result.Requests * 1.5 : result.Requests);
    }

    /// <param name="Load">What the server did.</param>
    /// <param name="PostgresMicroseconds">PostgreSQL's processor time of a token.</param>
    /// <param name="WalBytes">The bytes of its log of a token.</param>
    private sealed record TokenStretch(Stretch Load, double PostgresMicroseconds, double WalBytes);

    /// <param name="Es256">Processor time of a verification, in microseconds.</param>
    /// <param name="Ps256">The same; without a meaning in a quick run.</param>
    /// <param name="Tokens">The stretch of each kind.</param>
    private sealed record TokenRound(double Es256, double Ps256, IReadOnlyDictionary<TokenKind, TokenStretch> Tokens)
    {
        public double Microseconds(TokenKind kind) => Tokens[kind].Load.Microseconds;
    }
}
