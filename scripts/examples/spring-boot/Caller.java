// NOT TESTED, see application.yml. A RestClient that sends a token of TokenService to one API.
//
// Of the duties of a caller it leaves some to you. On 401 it forgets the token, so that the next call gets a new one,
// but this call fails. It does not wait as Retry-After says. When a renewal fails, the call fails.

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.oauth2.client.AuthorizedClientServiceOAuth2AuthorizedClientManager;
import org.springframework.security.oauth2.client.ClientCredentialsOAuth2AuthorizedClientProvider;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClientManager;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClientService;
import org.springframework.security.oauth2.client.registration.ClientRegistrationRepository;
import org.springframework.security.oauth2.client.web.client.OAuth2ClientHttpRequestInterceptor;
import org.springframework.web.client.RestClient;

@Configuration
class Caller {
    @Bean
    OAuth2AuthorizedClientManager tokens(ClientRegistrationRepository clients, OAuth2AuthorizedClientService kept) {
        var provider = new ClientCredentialsOAuth2AuthorizedClientProvider();
        // For tokens that live 10 minutes: renewed 2 to 3 minutes before the end, and not on all replicas at once. The
        // default is one minute, on all of them.
        provider.setClockSkew(Duration.ofSeconds(120 + ThreadLocalRandom.current().nextInt(60)));
        var manager = new AuthorizedClientServiceOAuth2AuthorizedClientManager(clients, kept);
        manager.setAuthorizedClientProvider(provider);

        var gate = new Object(); // one token request at a time
        return request -> {
            synchronized (gate) {
                return manager.authorize(request);
            }
        };
    }

    @Bean
    RestClient invoices(
        OAuth2AuthorizedClientManager tokens, OAuth2AuthorizedClientService kept, @Value("${api-url}") String api) {
        var interceptor = new OAuth2ClientHttpRequestInterceptor(tokens);
        interceptor.setClientRegistrationIdResolver(request -> "tokens");
        interceptor.setPrincipalResolver(request -> null); // one token for all that runs here, and not one for each user
        interceptor.setAuthorizationFailureHandler(
            OAuth2ClientHttpRequestInterceptor.authorizationFailureHandler(kept));
        return RestClient.builder().baseUrl(api).requestInterceptor(interceptor).build();
    }
}
