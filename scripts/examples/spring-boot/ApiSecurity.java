// NOT TESTED, see application.yml. An API that accepts TokenService's access tokens.

import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.HttpMethod;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.util.StringUtils;

@Configuration
class ApiSecurity {
    // Spring answers 401 and 403 as RFC 6750 §3 says, but its 403 does not name the scope.
    @Bean
    SecurityFilterChain api(HttpSecurity http) throws Exception {
        return http
            .authorizeHttpRequests(requests -> requests
                .requestMatchers(HttpMethod.GET, "/invoices").hasAuthority("SCOPE_invoices:read")
                .requestMatchers(HttpMethod.POST, "/invoices").hasAuthority("SCOPE_invoices:write")
                .anyRequest().denyAll())
            .oauth2ResourceServer(server -> server.jwt(Customizer.withDefaults()))
            .build();
    }

    // The decoder that spring.security.oauth2.resourceserver.jwt.issuer-uri makes accepts only the typ JWT, or none.
    @Bean
    JwtDecoder accessTokens(@Value("${tokens.issuer}") String issuer, @Value("${tokens.audience}") String audience) {
        // The algorithms are those of the issuer's keys. In Spring Security 6.5 validateType(false) leaves the typ to
        // the validator below; in 7 that is the default.
        var decoder = NimbusJwtDecoder.withIssuerLocation(issuer).validateType(false).build();
        // RFC 9068 §4: typ at+jwt, iss, aud, exp (60 seconds of tolerance), and that iat, jti and sub are there. Its
        // clientId() would accept the tokens of one client only.
        decoder.setJwtValidator(JwtValidators.createAtJwtValidator()
            .issuer(issuer)
            .audience(audience)
            .validators(all -> all.put("client_id", new JwtClaimValidator<String>("client_id", StringUtils::hasText)))
            .build());
        return decoder;
    }

    // Before Spring Security 6.5, only Nimbus can check the typ:
    //
    // var decoder = NimbusJwtDecoder.withIssuerLocation(issuer)
    //     .jwtProcessorCustomizer(processor ->
    //         processor.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("at+jwt"))))
    //     .build();
    // decoder.setJwtValidator(new DelegatingOAuth2TokenValidator<>(JwtValidators.createDefaultWithIssuer(issuer),
    //     new JwtClaimValidator<List<String>>("aud", aud -> aud != null && aud.contains(audience)),
    //     new JwtClaimValidator<Object>("exp", Objects::nonNull)));
}
