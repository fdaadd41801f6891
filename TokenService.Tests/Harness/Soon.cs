namespace TokenService.Tests.Harness;

/// <summary>Waits for something that a server does in the background, up to a limit.</summary>
internal static class Soon
{
    // Much longer than any of it takes.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    /// <param name="what">The awaited condition in words, for the message of a failure.</param>
    /// <param name="isTrue">Checks the condition once.</param>
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
