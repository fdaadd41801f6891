using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9449;

/// <summary>A server whose client billing sends DPoP proofs with one key.</summary>
public abstract class ProofFixture : ServerFixture
{
    private protected TestKey Key { get; } = TestKey.Create();

    private protected SignedJwt Proof(TestKey? key = null) => SignedJwt.Proof(Server, key ?? Key);

    private protected Task<Answer> SendAsync(SignedJwt proof) => SendAsync(proof.Signed());

    private protected Task<Answer> SendAsync(string proof) => TokenRequestBuilder.For(Client).WithHeader("DPoP", proof).SendAsync(Server);

    private protected async Task IsBoundAsync(SignedJwt proof) => (await SendAsync(proof)).IsGrant(tokenType: "DPoP");

    private protected Task IsRefusedAsync(SignedJwt proof, string reason, string description) =>
        IsRefusedAsync(proof.Signed(), reason, description);

    private protected async Task IsRefusedAsync(string proof, string reason, string description) =>
        await IsRefusedAsync(await SendAsync(proof), reason, description);

    private protected async Task IsRefusedAsync(Answer answer, string reason, string description)
    {
        answer.IsError(400, "invalid_dpop_proof", description);
        Assert.That((await Server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(reason));
    }
}
