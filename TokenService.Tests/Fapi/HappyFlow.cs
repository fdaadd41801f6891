using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>A token for each client, and its use at the resource.</summary>
[TestFixture, FapiModule("happy-flow"), Rfc(9449, "5"), Rfc(9449, "7.1")]
public sealed class HappyFlow : FapiApiFixture
{
    [Test]
    public async Task Each_client_gets_a_token_and_uses_it()
    {
        foreach (var client in new[] { First, Second })
        {
            var token = await TokenAsync(client);

            IsServed(await CallAsync($"DPoP {token}", ApiProof(client.DpopKey, token).Signed()), client);
        }
    }

    // The suite asks for a Date within 5 minutes of its own time.
    [Test, Rfc(9110, "6.6.1")]
    public async Task The_answers_have_the_time()
    {
        foreach (var address in new[] { Issuer + "/token", ResourceUrl.OriginalString })
        {
            using var answer = await Http.GetAsync(new Uri(address));

            Assert.That(answer.Headers.Date, Is.EqualTo(DateTimeOffset.UtcNow).Within(TimeSpan.FromMinutes(5)), address);
        }
    }

    [Test, Rfc(9449, "7.1c")]
    public async Task The_key_of_one_client_does_not_fit_the_token_of_the_other()
    {
        var token = await TokenAsync(Second);

        IsRefused(await CallAsync($"DPoP {token}", ApiProof(First.DpopKey, token).Signed()), "invalid_token");
    }

    // The suite passes on 400, 401 and 414.
    [Test, Rfc(9700, "4.3.2")]
    public async Task A_token_in_the_query_is_refused()
    {
        var token = await TokenAsync(First);

        var answer = await CallAsync(authorization: null, ApiProof(First.DpopKey, token).Signed(), $"?access_token={token}");

        Assert.That((answer.Status, answer.Body), Is.EqualTo((400, "")));
    }
}
