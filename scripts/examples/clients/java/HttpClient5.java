// Apache HttpClient 5: prints the token response.

import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import org.apache.hc.client5.http.auth.AuthScope;
import org.apache.hc.client5.http.auth.UsernamePasswordCredentials;
import org.apache.hc.client5.http.classic.methods.HttpPost;
import org.apache.hc.client5.http.entity.UrlEncodedFormEntity;
import org.apache.hc.client5.http.impl.auth.BasicCredentialsProvider;
import org.apache.hc.client5.http.impl.classic.BasicHttpClientResponseHandler;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.NameValuePair;
import org.apache.hc.core5.http.message.BasicNameValuePair;

class HttpClient5 {
    public static void main(String[] args) throws Exception {
        var environment = System.getenv();
        String id = environment.get("CLIENT_ID"), secret = environment.get("CLIENT_SECRET");
        var endpoint = URI.create(environment.get("ISSUER") + "/token");

        List<NameValuePair> form = new ArrayList<>();
        form.add(new BasicNameValuePair("grant_type", "client_credentials"));
        form.add(new BasicNameValuePair("scope", environment.get("SCOPE")));

        // By default the credentials are sent only after the server has answered 401 with a Basic challenge.
        var credentials = new BasicCredentialsProvider();
        if (environment.get("METHOD").equals("client_secret_post")) {
            form.add(new BasicNameValuePair("client_id", id));
            form.add(new BasicNameValuePair("client_secret", secret));
        } else {
            credentials.setCredentials(
                    new AuthScope(endpoint.getHost(), endpoint.getPort()),
                    new UsernamePasswordCredentials(id, secret.toCharArray()));
        }

        var request = new HttpPost(endpoint);
        request.setEntity(new UrlEncodedFormEntity(form)); // the Content-Type says charset=ISO-8859-1
        try (var client = HttpClients.custom().setDefaultCredentialsProvider(credentials).build()) {
            System.out.println(client.execute(request, new BasicHttpClientResponseHandler()));
        }
    }
}
