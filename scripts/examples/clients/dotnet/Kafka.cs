using Confluent.Kafka;

namespace Clients;

/// <summary>
/// librdkafka, which gets a token when a client is made, before it connects to a broker. It shows the token to brokers
/// only, so the result is empty; TokenService's event log has the request.
/// </summary>
internal static class Kafka
{
    public static async Task<string> GetTokenAsync(CallerSettings settings)
    {
        var config = new AdminClientConfig
        {
            BootstrapServers = "127.0.0.1:1", // nothing listens there
            SecurityProtocol = SecurityProtocol.SaslPlaintext,
            SaslMechanism = SaslMechanism.OAuthBearer,
            SaslOauthbearerMethod = SaslOauthbearerMethod.Oidc,
            SaslOauthbearerClientId = settings.ClientId,
            SaslOauthbearerClientSecret = settings.ClientSecret,
            SaslOauthbearerScope = settings.Scope,
            SaslOauthbearerTokenEndpointUrl = settings.Issuer + "/token",
            Debug = "security",
        };
        config.Set("https.ca.location", Environment.GetEnvironmentVariable("SSL_CERT_FILE"));

        var done = new TaskCompletionSource<string>(
            TaskCreationOptions.RunContinuationsAsynchronously); // on a thread that is not librdkafka's
        using var client = new AdminClientBuilder(config)
            .SetLogHandler((_, log) =>
            {
                if (log.Message.Contains("setting OAUTHBEARER token", StringComparison.Ordinal))
                    done.TrySetResult("");
            })
            .SetErrorHandler((_, error) =>
            {
                if (error.Code == ErrorCode.Local_Authentication)
                    done.TrySetException(new KafkaException(error));
            })
            .Build();
        return await done.Task;
    }
}
