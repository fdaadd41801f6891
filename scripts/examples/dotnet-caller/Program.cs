// A client of TokenService that calls the API of ../aspnetcore-api:
//   ClientSecret=tsvc_... dotnet run -- --TokenEndpoint http://127.0.0.1:8080/token --ClientId demo --Api http://127.0.0.1:5000/
// With "--ClientKey client.jwk --Issuer http://127.0.0.1:8080" it signs with the key that "TokenService client-key new" wrote
// and needs no secret. With "--Dpop true" its token is bound to a key that it makes as it starts (RFC 9449).

using Examples;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

var builder = Host.CreateApplicationBuilder(args);
var settings = builder.Configuration;
var api = new Uri(Setting("Api"));

// The program has one instance of these two, because they hold the token and the key that it is bound to. The factory
// makes new handlers every two minutes.
var dpop = settings["Dpop"] == "true" ? new DpopKey() : null;
var credentials = new ClientCredentials(
    new HttpClient(ToServer()) { Timeout = TimeSpan.FromSeconds(10) }, // for the token endpoint only
    new Uri(Setting("TokenEndpoint")), Client(), "invoices:read", settings["Resource"], isBound: dpop is not null);
var toInvoices = builder.Services.AddHttpClient("invoices", http => http.BaseAddress = api)
    .AddHttpMessageHandler(() => new ClientCredentialsHandler(credentials, api));
if (dpop is not null)
    toInvoices.AddHttpMessageHandler(() => new DpopHandler(dpop)); // beneath the other one, which sets the token

using var host = builder.Build();
using var invoices = host.Services.GetRequiredService<IHttpClientFactory>().CreateClient("invoices");
Console.WriteLine(await invoices.GetStringAsync("invoices"));

HttpMessageHandler ToServer() =>
    dpop is null ? new SocketsHttpHandler() : new DpopHandler(dpop) { InnerHandler = new SocketsHttpHandler() };

ClientAuthentication Client() => settings["ClientKey"] is { } file
    ? new ClientKey(Setting("ClientId"), Setting("Issuer"), SigningKey.Read(File.ReadAllText(file), settings["ClientKeyId"]))
    : new ClientSecret(Setting("ClientId"), Setting("ClientSecret"));

string Setting(string name) => settings[name] ?? throw new InvalidOperationException($"The setting {name} is missing.");
