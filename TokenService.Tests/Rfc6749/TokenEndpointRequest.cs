using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>A request to the token endpoint must be well formed before the server authenticates its client.</summary>
[TestFixture, Rfc(6749, "3.2")]
public sealed class TokenEndpointRequest : ServerFixture
{
    private const string NotAForm =
        "The body must have the Content-Type application/x-www-form-urlencoded and no Content-Encoding.";
    private const string InQuery =
        "Credentials must not be in the query. Send them in the header or the body, and treat these as leaked.";

    [Rfc(6749, "3.2a")]
    [TestCase("GET")]
    [TestCase("PUT")]
    [TestCase("PATCH")]
    [TestCase("DELETE")]
    [TestCase("OPTIONS")]
    [TestCase("TRACE")]
    [TestCase("PROPFIND")]
    [TestCase("POSTS")]
    public async Task Another_method_than_POST_is_refused(string method) =>
        (await TokenRequestBuilder.For(Client).WithMethod(new HttpMethod(method)).SendAsync(Server))
            .IsError(405, "invalid_request", "This endpoint answers only POST.", ("Allow", "POST"));

    [Test, Rfc(6749, "3.2a")]
    public async Task HEAD_is_refused_as_GET_is_but_without_a_body()
    {
        var get = await TokenRequestBuilder.For(Client).WithMethod(HttpMethod.Get).SendAsync(Server);
        var head = await TokenRequestBuilder.For(Client).WithMethod(HttpMethod.Head).SendAsync(Server);

        Assert.That(head.Body, Is.Empty);
        (head with { Body = get.Body }).IsError(405, "invalid_request", "This endpoint answers only POST.", ("Allow", "POST"));
    }

    [Rfc(6749, "3.2a")]
    [TestCase("/token/")]
    [TestCase("/Token")]
    public async Task Neither_a_last_slash_nor_the_case_of_letters_makes_another_path(string path) =>
        (await TokenRequestBuilder.For(Client).WithPath(path).SendAsync(Server)).IsGrant("invoices:read");

    [Test, Rfc(6749, "3.2a")]
    public async Task A_header_cannot_make_another_method_a_POST() =>
        (await TokenRequestBuilder.For(Client).WithMethod(HttpMethod.Put).WithHeader("X-HTTP-Method-Override", "POST").SendAsync(Server))
            .IsError(405, "invalid_request", "This endpoint answers only POST.", ("Allow", "POST"));

    [Rfc(6749, "3.2b")]
    [TestCase("scope")]
    [TestCase("client_id")]
    [TestCase("client_secret")]
    [TestCase("client_assertion")]
    [TestCase("whatever")]
    public async Task A_parameter_without_a_value_counts_as_omitted(string name) =>
        (await TokenRequestBuilder.For(Client).With(name, "").SendAsync(Server)).IsGrant("invoices:read");

    [Test, Rfc(6749, "3.2b")]
    public async Task A_grant_type_without_a_value_counts_as_omitted() =>
        (await TokenRequestBuilder.For(Client).WithBody("grant_type=").SendAsync(Server))
            .IsError(400, "invalid_request", "The parameter grant_type is missing from the body.");

    [Rfc(6749, "3.2c")]
    [TestCase("whatever", "x")]
    [TestCase("username", "billing")]
    [TestCase("redirect_uri", "https://client.example.com/callback")]
    [TestCase("Scope", "invoices:write")]
    [TestCase("GRANT_TYPE", "password")]
    [TestCase("%00 \r\n", "\uFFFD")]
    [TestCase("", "x")]
    public async Task An_unknown_parameter_is_ignored(string name, string value) =>
        (await TokenRequestBuilder.For(Client).With(name, value).SendAsync(Server)).IsGrant("invoices:read");

    [Rfc(6749, "3.2d")]
    [TestCase("grant_type", "client_credentials")]
    [TestCase("scope", "invoices:read")]
    [TestCase("client_id", "billing")]
    [TestCase("client_secret", "x")]
    [TestCase("whatever", "x")]
    [TestCase("whatever", "")]
    public async Task A_repeated_parameter_is_refused(string name, string value) =>
        (await TokenRequestBuilder.For(Client).Without(name).With(name, value).With(name, value).SendAsync(Server))
            .IsError(400, "invalid_request", "A parameter is repeated. Separate several scopes by spaces.");

    [Test, Rfc(6749, "3.2e")]
    public async Task The_advertised_token_endpoint_has_no_fragment()
    {
        using var response = await Server.Client.GetAsync("/.well-known/oauth-authorization-server");
        var metadata = await Answer.ReadAsync(response);

        var endpoint = new Uri(metadata.Json.GetProperty("token_endpoint").GetString()!);
        Assert.That((endpoint.AbsoluteUri, endpoint.Fragment), Is.EqualTo(($"{TestServer.Issuer}/token", "")));
    }

    [Rfc(6749, "3.2f")]
    [TestCase("application/x-www-form-urlencoded")]
    [TestCase("application/x-www-form-urlencoded; charset=utf-8")]
    [TestCase("application/x-www-form-urlencoded;charset=UTF-8")]
    [TestCase("application/x-www-form-urlencoded; charset=\"utf-8\"")]
    [TestCase("application/x-www-form-urlencoded; charset=\"UTF-8\"")]
    [TestCase("APPLICATION/X-WWW-FORM-URLENCODED")]
    [TestCase("application/x-www-form-urlencoded ;charset=utf-8")]
    public async Task A_form_is_accepted_under_every_spelling_of_its_media_type(string contentType) =>
        (await TokenRequestBuilder.For(Client).WithContentType(contentType).SendAsync(Server)).IsGrant("invoices:read");

    // A deliberate leniency: the media type has no parameters, so a charset changes nothing.
    [TestCase("charset=ISO-8859-1", Description = "Apache HttpClient 4 and 5")]
    [TestCase("charset=utf-16")]
    [TestCase("boundary=x")]
    [TestCase("")]
    [TestCase(";;=")]
    public async Task Parameters_of_the_media_type_are_ignored(string parameters) =>
        (await TokenRequestBuilder.For(Client).WithContentType($"application/x-www-form-urlencoded; {parameters}").SendAsync(Server))
            .IsGrant("invoices:read");

    [Rfc(6749, "3.2f")]
    [TestCase(null)]
    [TestCase("application/json")]
    [TestCase("multipart/form-data; boundary=x")]
    [TestCase("text/plain")]
    [TestCase("application/x-www-form-urlencoded-not")]
    [TestCase("application/x-www-form-urlencoded+json")]
    [TestCase("application/*")]
    [TestCase("*/*")]
    [TestCase("x-www-form-urlencoded")]
    [TestCase("application/x-www-form-urlencoded, application/json")]
    [TestCase("application/x-www-form-urlencoded, application/json; charset=utf-8")]
    [TestCase("application/ x-www-form-urlencoded")]
    [TestCase(";application/x-www-form-urlencoded")]
    [TestCase(";")]
    public async Task Another_media_type_is_refused(string? contentType) =>
        (await TokenRequestBuilder.For(Client).WithContentType(contentType).SendAsync(Server)).IsError(415, "invalid_request", NotAForm);

    [Rfc(6749, "3.2f")]
    [TestCase("gzip")]
    [TestCase("br")]
    [TestCase("identity, gzip")]
    [TestCase("identity\nContent-Encoding: gzip")]
    public async Task A_coded_body_is_refused(string coding) =>
        (await SendCodedAsync(coding)).IsError(415, "invalid_request", NotAForm);

    // Apache HttpClient can be told to send it.
    [TestCase("identity")]
    [TestCase("Identity")]
    [TestCase("")]
    [TestCase("identity\nContent-Encoding: identity")]
    public async Task A_body_whose_coding_is_the_identity_is_read(string coding) =>
        (await SendCodedAsync(coding)).IsGrant("invoices:read");

    [Test, Rfc(6749, "3.2f")]
    public async Task A_form_that_is_sent_with_two_content_types_is_refused()
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Content-Type: text/plain\nContent-Length: 29\n\ngrant_type=client_credentials");

        (await wire.ReadAnswerAsync()).IsError(415, "invalid_request", NotAForm);
    }

    [Rfc(6749, "B")]
    [TestCase("grant_type=client_credentials&x=%")]
    [TestCase("grant_type=client_credentials&x=%zz")]
    [TestCase("grant_type=client_credentials&x=%FF")]
    [TestCase("grant_type=client_credentials&%C0%80=x")]
    public async Task A_body_that_is_badly_encoded_is_refused(string body) =>
        (await TokenRequestBuilder.For(Client).WithBody(body).SendAsync(Server))
            .IsError(400, "invalid_request",
                "The body has a % without two hexadecimal digits after it, or octets that are not UTF-8. Encode % as %25.");

    // curl -d 'scope=a b' and the sample request of most tutorials send a raw space.
    [Test, Rfc(6749, "B")]
    public async Task A_raw_space_in_the_body_is_a_space() =>
        (await TokenRequestBuilder.For(Client)
            .WithBody("grant_type=client_credentials&scope=invoices:read invoices:write").SendAsync(Server))
            .IsGrant("invoices:read invoices:write");

    // curl -d @- with the output of echo, and the sample requests of tutorials.
    [Test]
    public async Task A_line_break_at_the_end_of_the_body_is_ignored() =>
        (await TokenRequestBuilder.For(Client).WithBody("grant_type=client_credentials\n").SendAsync(Server)).IsGrant("invoices:read");

    [Test]
    public async Task The_request_of_a_tutorial_on_one_line_with_a_raw_space_is_granted()
    {
        var client = await Database.CreateClientAsync("tutorial", "read:data write:data", "read:data", "https://data.example.com");
        (await TokenRequestBuilder.Anonymous().WithBody(
            $"grant_type=client_credentials&client_id={client.Id}&client_secret={client.Secret}&scope=read:data write:data").SendAsync(Server))
            .IsGrant("read:data write:data");
    }

    [TestCase("\n")]
    [TestCase("\r\n")]
    [TestCase("\n    ")]
    public async Task The_request_of_a_tutorial_broken_over_lines_is_told_of_the_white_space_before_a_name(string lineBreak) =>
        (await TokenRequestBuilder.Anonymous().WithBody(
            $"grant_type=client_credentials&{lineBreak}client_id={Client.Id}&{lineBreak}client_secret={Client.Secret}&{lineBreak}"
            + $"scope=invoices:read invoices:write{lineBreak}").SendAsync(Server))
            .IsError(400, "invalid_request",
                "White space stands before the name of a parameter. Send the body on one line, with only & between parameters.");

    [TestCase("grant_type=client_credentials\n&scope=invoices:read", "unsupported_grant_type",
        "The only grant_type here is client_credentials.")]
    [TestCase("scope=invoices:read\r\n&grant_type=client_credentials", "invalid_scope",
        "The scope parameter is not a list of scopes, separated by single spaces, of characters that a scope may have.")]
    [TestCase("resource=https://api.example.com\n&grant_type=client_credentials", "invalid_target",
        "A resource is an absolute URI without a fragment. Send a plain name as audience.")]
    [TestCase("audience=api%0A&grant_type=client_credentials", "invalid_target",
        "An audience is an absolute URI without a fragment, or a plain name.")]
    public async Task A_refusal_says_that_a_value_ends_in_a_line_break(string body, string code, string description) =>
        (await TokenRequestBuilder.For(Client).WithBody(body).SendAsync(Server))
            .IsError(400, code, $"{description} The value ends in a line break.");

    [Test]
    public async Task More_than_64_parameters_are_refused() =>
        (await TokenRequestBuilder.For(Client).WithBody(string.Join('&', Enumerable.Range(0, 65).Select(n => $"p{n}"))).SendAsync(Server))
            .IsError(400, "invalid_request", "The body has more than 64 parameters.");

    [TestCase("")]
    [TestCase("&")]
    [TestCase("x")]
    [TestCase("scope=invoices:read")]
    public async Task A_body_without_a_grant_type_is_refused(string body) =>
        (await TokenRequestBuilder.For(Client).WithBody(body).SendAsync(Server))
            .IsError(400, "invalid_request", "The parameter grant_type is missing from the body.");

    [Rfc(6749, "2.3.1d")]
    [TestCase("client_id=billing")]
    [TestCase("client_secret=x")]
    [TestCase("client_secret")]
    [TestCase("client_secret=")]
    [TestCase("client_id=billing&client_secret=x")]
    [TestCase("client_assertion=x")]
    [TestCase("client_assertion_type=x")]
    [TestCase("x=y&client%5Fsecret=x")]
    [TestCase("Client_Secret=x")]
    [TestCase("client_secret=x&client_secret=y")]
    [TestCase("client_secret=%FF%")]
    public async Task Credentials_in_the_query_are_refused_even_beside_valid_ones(string query) =>
        (await TokenRequestBuilder.For(Client).WithPath($"/token?{query}").SendAsync(Server)).IsError(400, "invalid_request", InQuery);

    [Test, Rfc(6749, "2.3.1d")]
    public async Task Credentials_that_are_only_in_the_query_are_refused() =>
        (await TokenRequestBuilder.Anonymous().WithPath($"/token?client_id={Client.Id}&client_secret={Client.Secret}").SendAsync(Server))
            .IsError(400, "invalid_request", InQuery);

    [Test]
    public async Task A_grant_type_in_the_query_is_not_read() =>
        (await TokenRequestBuilder.For(Client).WithBody("").WithPath("/token?grant_type=client_credentials").SendAsync(Server))
            .IsError(400, "invalid_request", "The parameter grant_type is missing from the body.");

    [TestCase("?")]
    [TestCase("?%")]
    [TestCase("?x=%FF")]
    [TestCase("?client_id%00=x")]
    public async Task A_query_without_credentials_is_ignored(string query) =>
        (await TokenRequestBuilder.For(Client).WithPath("/token" + query).SendAsync(Server)).IsGrant("invoices:read");

    [Test, Rfc(6749, "3.2a")]
    public async Task A_method_is_case_sensitive()
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client, method: "pOST")}Content-Length: 29\n\ngrant_type=client_credentials");

        (await wire.ReadAnswerAsync()).IsError(405, "invalid_request", "This endpoint answers only POST.", ("Allow", "POST"));
    }

    private async Task<Answer> SendCodedAsync(string coding)
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync(
            $"{RawConnection.Head(Client)}Content-Encoding: {coding}\nContent-Length: 29\n\n"
            + "grant_type=client_credentials");
        return await wire.ReadAnswerAsync();
    }
}
