namespace TokenService.Tests.Harness;

/// <summary>Waits for what a server does by itself: as long as it takes, but not for ever.</summary>
internal static class Soon
{
    // Far from what any of it takes.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    /// <param name="what">What should become true, for the person who reads that it did not.</param>
    /// <param name="isTrue">Looks.</param>
    public static async Task IsAsync(string what, Func<Task<bool>> isTrue)
    {
        using var limit = new CancellationTokenSource(Limit);
        while (!await isTrue())
        {
            if (limit.IsCancellationRequested)
                Assert.Fail($"It never came true that {what}.");
            await Task.Delay(Pause);
        }
    }

    public static Task IsAsync(string what, Func<bool> isTrue) => IsAsync(what, () => Task.FromResult(isTrue()));
}
