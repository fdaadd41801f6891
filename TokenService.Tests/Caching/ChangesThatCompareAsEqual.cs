using Dapper;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Caching;

/// <summary>PostgreSQL compares some values as equal that are not the same. Every replica hears of such a change too.</summary>
[TestFixture]
public sealed class ChangesThatCompareAsEqual : ServerFixture
{
    [TestCase(
        "update token_service.client set extra_claims = '{\"level\": 1}' where id = 'billing'",
        "update token_service.client set extra_claims = '{\"level\": 1.00}' where id = 'billing'",
        "client billing")]
    [TestCase(
        "update token_service.policy set max_overlap = '30 days'",
        "update token_service.policy set max_overlap = '720 hours'",
        "client")]
    public async Task A_change_between_two_of_them_sends_a_notification(string before, string change, string expected)
    {
        await Database.ExecuteAsync(before);

        Assert.That(await NotificationsOfAsync(change), Is.EqualTo([expected]));
        Assert.That(await NotificationsOfAsync(change), Is.Empty, "the same value again is no change");
    }

    [Test]
    public async Task A_token_has_the_value_as_it_was_written_last()
    {
        await Database.ExecuteAsync("select token_service.update_client('billing', p_extra_claims => '{\"level\": 1}')");
        await Server.HasReceivedNotificationsAsync();
        await TokenRequestBuilder.For(Client).SendAsync(Server);

        await Database.ExecuteAsync("select token_service.update_client('billing', p_extra_claims => '{\"level\": 1.00}')");
        await Server.HasReceivedNotificationsAsync();
        var answer = await TokenRequestBuilder.For(Client).SendAsync(Server);

        Assert.That(Base64UrlEncoder.Decode(answer.Token.EncodedPayload), Does.Contain("\"level\":1.00"));
    }

    private async Task<List<string>> NotificationsOfAsync(string change)
    {
        const string End = "the end";
        // A server that begins to listen sends a notification of its own.
        await Server.IsListeningAsync();
        await using var listener = await Database.Source.OpenConnectionAsync();
        List<string> received = [];
        listener.Notification += (_, notification) => received.Add(notification.Payload);
        await listener.ExecuteAsync("listen token_service");

        await Database.ExecuteAsync(change);
        await Database.ExecuteAsync($"notify token_service, '{End}'");
        while (!received.Contains(End))
            Assert.That(await listener.WaitAsync(TimeSpan.FromSeconds(30)), Is.True);
        received.Remove(End);
        return received;
    }
}
