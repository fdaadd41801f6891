using System.Security.Claims;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Examples;

/// <summary>
/// Refuses tokens that were revoked, by a list that the issuer signs, fetched about once a minute. When no new list can
/// be fetched, the last one is used until it expires, five minutes after it was signed. After that every request is
/// answered 503, because the API cannot know which tokens were revoked.
/// </summary>
public sealed partial class RevokedTokens(IOptionsMonitor<JwtBearerOptions> options, TimeProvider clock, ILogger<RevokedTokens> logger)
    : BackgroundService
{
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        RespectRequiredConstructorParameters = true,
    };

    // The issuer's list never has more than 165,000 characters. This is the handler's default, too.
    private static readonly JsonWebTokenHandler Handler = new() { MaximumTokenSizeInBytes = 250 * 1024 };

    private bool isFresh;
    private volatile List? last;

    public static void Refuse(IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton<RevokedTokens>().AddHostedService(all => all.GetRequiredService<RevokedTokens>());
        services.PostConfigure<JwtBearerOptions>(JwtBearerDefaults.AuthenticationScheme, bearer =>
        {
            bearer.Events ??= new JwtBearerEvents();
            bearer.Events.OnTokenValidated = context =>
            {
                context.HttpContext.RequestServices.GetRequiredService<RevokedTokens>().Check(context);
                return Task.CompletedTask;
            };
            bearer.Events.OnChallenge = AnswerUnavailableAsync;
        });
    }

    // The first list is fetched before the API accepts requests.
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await FetchAsync(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (true)
        {
            await Task.Delay(TimeSpan.FromSeconds(isFresh ? 60 : 5), clock, stoppingToken);
            await FetchAsync(stoppingToken);
        }
    }

    private async Task FetchAsync(CancellationToken ct)
    {
        isFresh = false;
        try
        {
            var bearer = options.Get(JwtBearerDefaults.AuthenticationScheme);
            var metadata = await bearer.ConfigurationManager!.GetConfigurationAsync(ct);
            var address = (string)metadata.AdditionalData["revoked_tokens_uri"];
            var jwt = await bearer.Backchannel.GetStringAsync(address, ct);
            var read = await Handler.ValidateTokenAsync(jwt, new TokenValidationParameters
            {
                // The keys and the issuer are those of the tokens.
                ConfigurationManager = (BaseConfigurationManager)bearer.ConfigurationManager,
                ValidTypes = ["revoked-tokens+jwt"], // no other JWT of this issuer
                ValidAudience = address, // the list's own address, since it is for every API
            });
            last = read.IsValid
                ? JsonSerializer.Deserialize<List>(Base64UrlEncoder.DecodeBytes(((JsonWebToken)read.SecurityToken).EncodedPayload), Json)
                : throw read.Exception;
            isFresh = true;
        }
        catch (Exception e) when (!ct.IsCancellationRequested)
        {
            LogFailure(e, last?.ExpiresAt);
        }
    }

    private void Check(TokenValidatedContext context)
    {
        var token = (JsonWebToken)context.SecurityToken;
        if (last is not { } list || clock.GetUtcNow() >= list.ExpiresAt)
            context.Fail(new NoListException());
        else if (list.Revoked.Contains(token.Id)
            || EpochTime.GetIntDate(token.IssuedAt) <= list.EndOf(context.Principal!.FindFirstValue("client_id")))
            context.Fail("The token was revoked.");
    }

    private static Task AnswerUnavailableAsync(JwtBearerChallengeContext context)
    {
        if (context.AuthenticateFailure is NoListException)
        {
            context.HandleResponse();
            context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
            context.Response.Headers.RetryAfter = "5";
        }

        return Task.CompletedTask;
    }

    [LoggerMessage(LogLevel.Error, "There is no new list of revoked tokens. The last one is used until {Expiry}.")]
    private partial void LogFailure(Exception e, DateTimeOffset? expiry);

    /// <param name="Exp">When the list expires.</param>
    /// <param name="Revoked">The jti of each revoked token.</param>
    /// <param name="NotBefore">
    /// By client_id: tokens issued at this time or earlier are revoked. <c>*</c> stands for every client.
    /// </param>
    private sealed record List(long Exp, HashSet<string> Revoked, Dictionary<string, long> NotBefore)
    {
        public DateTimeOffset ExpiresAt => DateTimeOffset.FromUnixTimeSeconds(Exp);

        public long EndOf(string? clientId) =>
            Math.Max(NotBefore.GetValueOrDefault(clientId ?? ""), NotBefore.GetValueOrDefault("*"));
    }

    private sealed class NoListException() : Exception("There is no valid list of revoked tokens.");
}
