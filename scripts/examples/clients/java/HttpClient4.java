// Apache HttpClient 4, by its fluent API: prints the token response.

import org.apache.http.client.fluent.Executor;
import org.apache.http.client.fluent.Form;
import org.apache.http.client.fluent.Request;

class HttpClient4 {
    public static void main(String[] args) throws Exception {
        var environment = System.getenv();
        String id = environment.get("CLIENT_ID"), secret = environment.get("CLIENT_SECRET");

        var form = Form.form().add("grant_type", "client_credentials").add("scope", environment.get("SCOPE"));
        var executor = Executor.newInstance();
        if (environment.get("METHOD").equals("client_secret_post")) {
            form.add("client_id", id).add("client_secret", secret);
        } else {
            // By default the credentials are sent only after the server has answered 401 with a Basic challenge.
            executor.auth(id, secret);
        }

        // The Content-Type says charset=ISO-8859-1.
        var request = Request.Post(environment.get("ISSUER") + "/token").bodyForm(form.build());
        System.out.println(executor.execute(request).returnContent());
    }
}
