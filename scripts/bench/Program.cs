using System.Globalization;
using TokenService.Bench;

return args switch
{
    ["bounds", .. var rest] => await Bounds.RunAsync(rest),
    ["run", .. var rest] => await Run.RunAsync(rest),
    ["proofs", .. var rest] => await Proofs.RunAsync(rest),
    // `run` and `proofs` start these themselves.
    ["empty", var length] => await EmptyServer.ServeAsync(int.Parse(length, CultureInfo.InvariantCulture)),
    ["signatures", var algorithm, var seconds] => RawCrypto.Sign(
        algorithm, double.Parse(seconds, CultureInfo.InvariantCulture)),
    ["verifications", var algorithm, var seconds] => RawCrypto.Verify(
        algorithm, double.Parse(seconds, CultureInfo.InvariantCulture)),
    ["stalls", var seconds] => Stalls.Measure(double.Parse(seconds, CultureInfo.InvariantCulture)),
    ["hashes", var seconds] => RawCrypto.Hash(double.Parse(seconds, CultureInfo.InvariantCulture)),
    ["half-sent", var port, var connections, var seconds] => await HalfSentBodies.RunAsync(
        int.Parse(port, CultureInfo.InvariantCulture),
        int.Parse(connections, CultureInfo.InvariantCulture),
        double.Parse(seconds, CultureInfo.InvariantCulture)),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("Use scripts/bench/bounds, scripts/bench/proofs or scripts/bench/run.");
    return 2;
}
