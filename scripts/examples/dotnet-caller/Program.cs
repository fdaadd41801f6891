// A client of TokenService that calls the API of ../aspnetcore-api:
//   ClientSecret=tsvc_... dotnet run -- --TokenEndpoint http://127.0.0.1:8080/token --ClientId demo --Api http://127.0.0.1:5000/

using Examples;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

var builder = Host.CreateApplicationBuilder(args);
var settings = builder.Configuration;
var api = new Uri(Setting("Api"));

// The program has one instance, because it holds the token. The factory makes new handlers every two minutes.
builder.Services.AddSingleton(new ClientCredentials(
    new HttpClient { Timeout = TimeSpan.FromSeconds(10) }, // for the token endpoint only, so without the handler below
    new Uri(Setting("TokenEndpoint")), Setting("ClientId"), Setting("ClientSecret"), "invoices:read", settings["Resource"]));
builder.Services.AddHttpClient("invoices", http => http.BaseAddress = api)
    .AddHttpMessageHandler(services => new ClientCredentialsHandler(services.GetRequiredService<ClientCredentials>(), api));

using var host = builder.Build();
using var invoices = host.Services.GetRequiredService<IHttpClientFactory>().CreateClient("invoices");
Console.WriteLine(await invoices.GetStringAsync("invoices"));

string Setting(string name) => settings[name] ?? throw new InvalidOperationException($"The setting {name} is missing.");
