// Calls an API a few times with one token. It needs Java 17 or later, and Jackson:
//
//   export ISSUER=http://127.0.0.1:8080 CLIENT_ID=… CLIENT_SECRET=…
//   export SCOPE=invoices:read API_URL=http://127.0.0.1:3000/invoices
//   java -cp jackson-core.jar:jackson-databind.jar:jackson-annotations.jar Caller.java
//
// The classes after Caller are the part to copy.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;

public final class Caller {
    public static void main(String[] args) throws Exception {
        var env = System.getenv();
        var address = URI.create(env.get("API_URL"));
        var credentials = new Credentials(
            env.get("ISSUER"), env.get("CLIENT_ID"), env.get("CLIENT_SECRET"), env.get("SCOPE"));
        var api = new ApiClient(credentials, address);

        var calls = Integer.parseInt(env.getOrDefault("CALLS", "3"));
        var threads = Executors.newFixedThreadPool(List.of(args).contains("--at-once") ? calls : 1);
        List<Future<HttpResponse<String>>> answers = new ArrayList<>();
        for (var i = 0; i < calls; i++) answers.add(threads.submit(() -> api.send(HttpRequest.newBuilder(address))));
        var exit = 0;
        for (var answer : answers) {
            try {
                System.out.println(answer.get().statusCode() + " " + answer.get().body().trim());
                if (answer.get().statusCode() != 200) exit = 1;
            } catch (ExecutionException e) {
                System.out.println(e.getCause().getMessage());
                exit = 1;
            }
        }
        System.exit(exit);
    }
}

/** Sends each request with a token, and once more with a new token when the API answers 401. */
final class ApiClient {
    private final Credentials credentials;
    private final URI api;

    /** @param api the only host that gets the token, because every receiver could use it */
    ApiClient(Credentials credentials, URI api) {
        this.credentials = credentials;
        this.api = api;
    }

    HttpResponse<String> send(HttpRequest.Builder request) throws IOException, InterruptedException {
        var token = credentials.token();
        var response = send(request, token);
        if (response.statusCode() != 401) return response;
        // The token was revoked, or its key withdrawn. After 403 a new one would not help: it would have the same
        // scopes.
        credentials.drop(token);
        return send(request, credentials.token());
    }

    private HttpResponse<String> send(HttpRequest.Builder builder, String token)
        throws IOException, InterruptedException {
        var request = builder.setHeader("Authorization", "Bearer " + token).timeout(Duration.ofSeconds(10)).build();
        if (!request.uri().resolve("/").equals(api.resolve("/"))) {
            throw new IllegalArgumentException("The token is for " + api + " and is not sent to " + request.uri());
        }
        return Patience.send(request);
    }
}

/**
 * Gets a client's tokens (RFC 6749 §4.4). A program has one instance for each scope, and all its calls share it: there
 * is one token request at a time, and while the token is good no call waits for it.
 */
final class Credentials {
    // After a failed token request, so that a wrong secret does not cause one for each call.
    private static final Duration PAUSE = Duration.ofSeconds(10);
    private static final ObjectMapper JSON = new ObjectMapper();

    private final HttpRequest tokenRequest;
    private final Executor background = Executors.newSingleThreadExecutor(task -> {
        var thread = new Thread(task, "token renewal");
        thread.setDaemon(true);
        return thread;
    });
    private String token;
    private Instant renewAt = Instant.MIN;
    private Instant end = Instant.MIN;
    private CompletableFuture<Void> renewing;
    private IOException failure; // of the last token request

    /** Reads the issuer's metadata. */
    Credentials(String issuer, String id, String secret, String scope) throws IOException, InterruptedException {
        var address = URI.create(issuer + "/.well-known/oauth-authorization-server");
        var metadata = answer(HttpRequest.newBuilder(address).timeout(Duration.ofSeconds(10)).build());
        if (!metadata.path("issuer").asText().equals(issuer)) {
            throw new IOException("The metadata of " + issuer + " is of " + metadata.path("issuer"));
        }
        var endpoint = URI.create(metadata.path("token_endpoint").asText());
        if (!isSafe(address) || !isSafe(endpoint)) {
            throw new IOException("The secret would go to " + endpoint + " unencrypted.");
        }
        // RFC 6749 §2.3.1: id and secret are form-encoded before Base64.
        var basic = (encode(id) + ":" + encode(secret)).getBytes(StandardCharsets.US_ASCII);
        tokenRequest = HttpRequest.newBuilder(endpoint)
            .timeout(Duration.ofSeconds(10)) // for one attempt
            .header("Authorization", "Basic " + Base64.getEncoder().encodeToString(basic))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(BodyPublishers.ofString("grant_type=client_credentials&scope=" + encode(scope)))
            .build();
    }

    /** Returns a token that has not expired. While a renewal fails, that is the old one. */
    String token() throws IOException {
        CompletableFuture<Void> pending;
        synchronized (this) {
            var now = Instant.now();
            if (renewing == null && !now.isBefore(renewAt)) {
                renewing = CompletableFuture.runAsync(this::renew, background);
            }
            if (now.isBefore(end)) return token;
            pending = renewing;
        }
        if (pending != null) pending.join();
        synchronized (this) {
            if (failure != null) throw new IOException(failure.getMessage(), failure);
            return token;
        }
    }

    /** Forgets a token that an API refused, unless it was renewed already. */
    synchronized void drop(String refused) {
        if (refused.equals(token)) renewAt = end = Instant.MIN;
    }

    private void renew() {
        var asked = Instant.now(); // before the request, so that the token is not believed to live longer than it does
        JsonNode granted = null;
        IOException error = null;
        try {
            granted = answer(tokenRequest);
            if (!granted.has("access_token") || !granted.path("token_type").asText().equalsIgnoreCase("Bearer")) {
                error = new IOException(tokenRequest.uri() + " answered without a bearer token.");
            }
        } catch (IOException | InterruptedException | RuntimeException e) {
            error = e instanceof IOException io ? io : new IOException(e);
        }

        synchronized (this) {
            renewing = null;
            failure = error;
            if (error != null) {
                renewAt = Instant.now().plus(Patience.longer(PAUSE));
                return;
            }
            // RFC 6749 §5.1 only recommends expires_in; TokenService always sends it.
            var life = Duration.ofSeconds(granted.path("expires_in").asLong(60));
            token = granted.path("access_token").asText();
            end = asked.plus(life);
            renewAt = asked.plus(renewAfter(life));
            System.out.println("A token for " + life.toSeconds() + " seconds.");
        }
    }

    /**
     * 80 % of the token's life or, if that is sooner, 60 seconds before its end, but at least half of it. Up to a tenth
     * of the life is taken off, at random, so that replicas do not renew together.
     */
    private static Duration renewAfter(Duration life) {
        var millis = life.toMillis();
        var after = Math.max(Math.min(millis * 8 / 10, millis - 60_000), millis / 2);
        return Duration.ofMillis(after - (long) (ThreadLocalRandom.current().nextDouble() * millis / 10));
    }

    // The message shows the issuer's error and Request-Id, never a token.
    private static JsonNode answer(HttpRequest request) throws IOException, InterruptedException {
        var response = Patience.send(request);
        if (response.statusCode() == 200) return JSON.readTree(response.body());
        JsonNode refusal;
        try {
            refusal = JSON.readTree(response.body());
        } catch (IOException e) { // a proxy's error page is no JSON
            refusal = JSON.createObjectNode();
        }
        throw new IOException("%s answered %d %s: %s (Request-Id: %s)".formatted(
            request.uri(), response.statusCode(), refusal.path("error").asText(),
            refusal.path("error_description").asText(), response.headers().firstValue("Request-Id").orElse("none")));
    }

    private static boolean isSafe(URI address) {
        return "https".equals(address.getScheme())
            || Set.of("127.0.0.1", "[::1]", "localhost").contains(address.getHost());
    }

    private static String encode(String value) {
        return URLEncoder.encode(value, StandardCharsets.UTF_8);
    }
}

/** Waits as 429 and 503 ask, at most three times and at most a minute each. */
final class Patience {
    private static final int RETRIES = 3;
    private static final Duration MAX_WAIT = Duration.ofMinutes(1);
    // It follows no redirect, which would take the secret or the token elsewhere.
    private static final HttpClient HTTP = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();

    private Patience() {}

    static HttpResponse<String> send(HttpRequest request) throws IOException, InterruptedException {
        for (var attempt = 0; ; attempt++) {
            var response = HTTP.send(request, BodyHandlers.ofString());
            var wait = response.headers().firstValue("Retry-After").map(Patience::read).orElse(null);
            if (wait == null) wait = Duration.ofSeconds(1L << attempt);
            var isRefused = Set.of(429, 503).contains(response.statusCode());
            if (!isRefused || attempt == RETRIES || wait.compareTo(MAX_WAIT) > 0) return response;

            System.out.println(response.statusCode() + ": again in " + wait.toSeconds() + " seconds.");
            Thread.sleep(longer(wait).toMillis());
        }
    }

    /** Adds up to a quarter, at random, because other replicas were told to wait as long. */
    static Duration longer(Duration wait) {
        return wait.plusMillis((long) (ThreadLocalRandom.current().nextDouble() * wait.toMillis() / 4));
    }

    // RFC 9110 §10.2.3: seconds, or a date. Null: neither.
    private static Duration read(String retryAfter) {
        if (retryAfter.matches("\\d{1,9}")) return Duration.ofSeconds(Long.parseLong(retryAfter));
        try {
            var date = ZonedDateTime.parse(retryAfter, DateTimeFormatter.RFC_1123_DATE_TIME);
            var wait = Duration.between(Instant.now(), date);
            return wait.isNegative() ? Duration.ZERO : wait;
        } catch (DateTimeException e) {
            return null;
        }
    }
}
