namespace TokenService.Commands;

/// <summary>Prints the commands of the program, with <c>--help</c> or after a wrong command.</summary>
internal static class Usage
{
    private const int WrongCommand = 2; // the exit code

    public static int Print(TextWriter output, bool isHelp = false)
    {
        output.WriteLine("""
            usage: TokenService [--Setting=value …]   serve
                   TokenService migrate               bring the database's schema to what this build needs
                   TokenService secret new            print a fresh client secret, its id and its digest
                   TokenService secret hash           print the id and digest of the secret on standard input
                   TokenService secret check [client] say what is wrong with the secret on standard input
                   TokenService client-key new [--alg ES256|ES384|PS256|RS256] [--kid KID] FILE
                                                      make a client's key pair: the private half into FILE, as a PEM if it ends
                                                      in .pem, else as a JWK; Ed25519 keys come from other tools
                   TokenService keys list             print the signing keys and where each is in its life
                   TokenService keys rotate           let the next signing keys sign as soon as every verifier has them
                   TokenService keys reseal           seal every private signing key with the current sealing key
                   TokenService import --help         bring the clients of Keycloak, Auth0, Hydra or a CSV file
                   TokenService demo-client           make or renew the client that scripts/run shows

            Settings come from the environment too, such as ConnectionStrings__TokenService. scripts/OPERATIONS.md lists them.
            """);
        return isHelp ? 0 : WrongCommand;
    }
}
