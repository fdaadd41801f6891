// An API that accepts TokenService's access tokens and answers as RFC 6750 §3 says. It needs Jackson, and Java 17.0.3
// or later, because earlier ones accept an ECDSA signature of zeros (CVE-2022-21449):
//
//   export ISSUER=http://127.0.0.1:8080 AUDIENCE=https://api.example.com
//   java -cp jackson-core.jar:jackson-databind.jar:jackson-annotations.jar Api.java
//
// The class Verifier is the part to copy; HttpServer stands for the server that you have.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.math.BigInteger;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.RSAPublicKeySpec;
import java.time.Duration;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;
import java.util.stream.StreamSupport;

public final class Api {
    private static final Map<String, String> SCOPES = Map.of("GET", "invoices:read", "POST", "invoices:write");
    private static final Pattern BEARER = Pattern.compile("Bearer(?: +(.*))?", Pattern.CASE_INSENSITIVE);

    private final Verifier verifier;

    private Api(Verifier verifier) {
        this.verifier = verifier;
    }

    public static void main(String[] args) throws Exception {
        var api = new Api(new Verifier(System.getenv("ISSUER"), System.getenv("AUDIENCE")));
        var port = Integer.parseInt(System.getenv().getOrDefault("PORT", "3000"));
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/invoices", api::handle);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.start();
        System.out.println("Listening on http://127.0.0.1:" + port);
    }

    private void handle(HttpExchange exchange) throws IOException {
        var scope = SCOPES.get(exchange.getRequestMethod());
        var authorization = exchange.getRequestHeaders().getFirst("Authorization");
        var bearer = BEARER.matcher(authorization == null ? "" : authorization.trim());
        if (scope == null) {
            answer(exchange, 405, null, "");
        } else if (!bearer.matches()) {
            answer(exchange, 401, "Bearer", ""); // no credential: a challenge, and no error
        } else {
            authorize(exchange, scope, bearer.group(1) == null ? "" : bearer.group(1));
        }
    }

    private void authorize(HttpExchange exchange, String scope, String token) throws IOException {
        try {
            var caller = verifier.verify(token);
            // RFC 6749 §3.3: the claim lists the scopes, separated by spaces.
            if (List.of(caller.path("scope").asText().split(" ")).contains(scope)) {
                answer(exchange, 200, null, "{\"client\":" + caller.get("client_id") + "}");
            } else {
                answer(exchange, 403, "Bearer error=\"insufficient_scope\", scope=\"" + scope + "\"", "");
            }
        } catch (BadToken e) {
            System.err.println(e.getMessage());
            answer(exchange, 401, "Bearer error=\"invalid_token\"", "");
        } catch (NoKeys e) { // not the caller's fault
            e.printStackTrace();
            exchange.getResponseHeaders().set("Retry-After", "5");
            answer(exchange, 503, null, "");
        }
    }

    private static void answer(HttpExchange exchange, int status, String challenge, String body) throws IOException {
        var bytes = body.getBytes(StandardCharsets.UTF_8);
        if (challenge != null) exchange.getResponseHeaders().set("WWW-Authenticate", challenge);
        if (bytes.length > 0) exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
        try (exchange; var out = exchange.getResponseBody()) {
            out.write(bytes);
        }
    }
}

/**
 * Verifies access tokens of one issuer for one API, offline (RFC 9068 §4). Keys come from the issuer's own metadata,
 * never from an address inside a token.
 */
final class Verifier {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long CLOCK_TOLERANCE = 30; // seconds
    private static final long KEYS_MAX_AGE = Duration.ofMinutes(5).toNanos(); // the max-age of TokenService's JWKS
    // Anybody can invent a kid, so an unknown one does not always cause a fetch.
    private static final long KEYS_MIN_AGE = Duration.ofSeconds(30).toNanos();

    private final String issuer;
    private final String audience;
    private final URI jwksUri;
    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
    private Map<String, Key> keys = Map.of(); // by kid
    private long fetched;
    private long tried;
    private Exception failure; // of the last fetch

    /** Fetches the issuer's metadata and keys. */
    Verifier(String issuer, String audience) throws Exception {
        this.issuer = issuer;
        this.audience = audience;
        var metadata = get(URI.create(issuer + "/.well-known/oauth-authorization-server"));
        if (!metadata.path("issuer").asText().equals(issuer)) {
            throw new IOException("The metadata of " + issuer + " is of " + metadata.path("issuer"));
        }
        jwksUri = URI.create(metadata.path("jwks_uri").asText());
        fetchKeys();
        if (failure != null) throw failure;
    }

    /** Returns the claims of a good token. */
    JsonNode verify(String token) throws BadToken, NoKeys {
        var parts = token.split("\\.", -1);
        require(parts.length == 3, "not a JWT");
        var header = decode(parts[0]);
        // RFC 9068 §4: only access tokens, no other JWT of this issuer.
        require(header.path("typ").asText().matches("(?i)(application/)?at\\+jwt"), "not of type at+jwt");
        require(!header.has("crit"), "a critical extension"); // RFC 7515 §4.1.11

        var key = find(header.path("kid").asText());
        require(key.verifies(header.path("alg").asText(), parts), "the signature is wrong");
        var claims = decode(parts[1]);
        check(claims, System.currentTimeMillis() / 1000);
        return claims;
    }

    private void check(JsonNode claims, long now) throws BadToken {
        require(isText(claims.path("iss"), issuer), "of another issuer");
        var aud = claims.path("aud"); // one id, or a list of them
        require(isText(aud, audience) || StreamSupport.stream(aud.spliterator(), false)
            .anyMatch(id -> isText(id, audience)), "for another audience");
        // A token with cnf is bound to a key (RFC 9449). This API verifies no proofs, so a thief could use such a token
        // here.
        require(!claims.has("cnf"), "bound to a key");
        var exp = claims.path("exp");
        require(exp.isNumber() && now < exp.asDouble() + CLOCK_TOLERANCE, "expired, or without exp");
        require(claims.path("iat").isNumber(), "without iat");
        var nbf = claims.path("nbf");
        require(nbf.isMissingNode() || nbf.isNumber() && nbf.asDouble() <= now + CLOCK_TOLERANCE, "not yet valid");
        for (var name : List.of("jti", "sub", "client_id")) { // RFC 9068 §2.2
            require(claims.path(name).isTextual(), "without " + name);
        }
    }

    /**
     * Finds a key, and fetches the keys when they are old or lack this one. While the issuer does not answer, the keys
     * that are known stay in use.
     */
    private synchronized Key find(String kid) throws BadToken, NoKeys {
        var now = System.nanoTime();
        if ((!keys.containsKey(kid) || now - fetched > KEYS_MAX_AGE) && now - tried > KEYS_MIN_AGE) fetchKeys();
        var key = keys.get(kid);
        if (key == null && failure != null) throw new NoKeys(failure);
        require(key != null, "signed with an unknown key");
        return key;
    }

    private void fetchKeys() {
        tried = System.nanoTime();
        try {
            var found = new HashMap<String, Key>();
            for (var jwk : get(jwksUri).path("keys")) {
                var key = Key.of(jwk);
                if (key != null) found.put(jwk.path("kid").asText(), key);
            }
            if (found.isEmpty()) throw new IOException(jwksUri + " has no key that can be used.");
            keys = found;
            fetched = tried;
            failure = null;
        } catch (Exception e) {
            failure = e;
            System.err.println("There are no new keys: " + e);
        }
    }

    private JsonNode get(URI address) throws Exception {
        var request = HttpRequest.newBuilder(address).timeout(Duration.ofSeconds(5)).build();
        var response = http.send(request, BodyHandlers.ofString());
        if (response.statusCode() != 200) throw new IOException(address + " answers " + response.statusCode());
        return JSON.readTree(response.body());
    }

    private static JsonNode decode(String part) throws BadToken {
        try {
            var json = JSON.readTree(Base64.getUrlDecoder().decode(part));
            require(json.isObject(), "not a JWT");
            return json;
        } catch (IOException | IllegalArgumentException e) {
            throw new BadToken("not a JWT");
        }
    }

    private static boolean isText(JsonNode node, String text) {
        return node.isTextual() && node.asText().equals(text);
    }

    private static void require(boolean holds, String otherwise) throws BadToken {
        if (!holds) throw new BadToken(otherwise);
    }
}

/** A public key has its algorithm from the JWKS, so a token cannot choose another one for it. */
record Key(String algorithm, PublicKey key) {
    /** Reads a JWK (RFC 7517, RFC 7518 §6). Null: the key is of an algorithm that this verifier does not know. */
    static Key of(JsonNode jwk) throws GeneralSecurityException {
        var algorithm = jwk.path("alg").asText();
        return switch (algorithm + " " + jwk.path("kty").asText() + " " + jwk.path("crv").asText()) {
            case "ES256 EC P-256" -> new Key(algorithm, ec(jwk, "secp256r1"));
            case "ES384 EC P-384" -> new Key(algorithm, ec(jwk, "secp384r1"));
            case "RS256 RSA ", "PS256 RSA " -> new Key(algorithm,
                KeyFactory.getInstance("RSA").generatePublic(new RSAPublicKeySpec(number(jwk, "n"), number(jwk, "e"))));
            default -> null;
        };
    }

    private static PublicKey ec(JsonNode jwk, String curve) throws GeneralSecurityException {
        var parameters = AlgorithmParameters.getInstance("EC");
        parameters.init(new ECGenParameterSpec(curve));
        var point = new ECPoint(number(jwk, "x"), number(jwk, "y"));
        return KeyFactory.getInstance("EC").generatePublic(
            new ECPublicKeySpec(point, parameters.getParameterSpec(ECParameterSpec.class)));
    }

    private static BigInteger number(JsonNode jwk, String name) {
        return new BigInteger(1, Base64.getUrlDecoder().decode(jwk.path(name).asText()));
    }

    boolean verifies(String algorithmOfToken, String[] parts) {
        try {
            if (!algorithmOfToken.equals(algorithm)) return false;
            // RFC 7518 §3.4: r and s as they are, which Java calls P1363. §3.5: PS256 with a salt as long as the hash.
            var signature = Signature.getInstance(switch (algorithm) {
                case "ES256" -> "SHA256withECDSAinP1363Format";
                case "ES384" -> "SHA384withECDSAinP1363Format";
                case "PS256" -> "RSASSA-PSS";
                default -> "SHA256withRSA";
            });
            if (algorithm.equals("PS256")) {
                signature.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
            }
            signature.initVerify(key);
            signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
            return signature.verify(Base64.getUrlDecoder().decode(parts[2]));
        } catch (GeneralSecurityException | IllegalArgumentException e) {
            return false;
        }
    }
}

/** What is wrong with a token, for the API's log. */
final class BadToken extends Exception {
    BadToken(String what) {
        super("Bad token: " + what);
    }
}

/** There are no keys to verify with, which is not the caller's fault. */
final class NoKeys extends Exception {
    NoKeys(Exception cause) {
        super("There are no keys.", cause);
    }
}
