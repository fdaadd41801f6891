// go-oidc: for each token on standard input, prints "accepted" or "refused" and why.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/coreos/go-oidc"
)

func main() {
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, os.Getenv("ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	// Version 3 does this by itself. Without it, version 2 verifies RS256 only.
	var metadata struct {
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&metadata); err != nil {
		log.Fatal(err)
	}
	config := oidc.Config{ClientID: os.Getenv("AUDIENCE"), SupportedSigningAlgs: metadata.Algorithms}
	verifier := provider.Verifier(&config)

	tokens := bufio.NewScanner(os.Stdin)
	for tokens.Scan() {
		if err := verify(ctx, verifier, tokens.Text()); err != nil {
			fmt.Println("refused", err)
		} else {
			fmt.Println("accepted")
		}
	}
}

func verify(ctx context.Context, verifier *oidc.IDTokenVerifier, text string) error {
	token, err := verifier.Verify(ctx, text)
	if err != nil {
		return err
	}
	// A token with cnf is bound to a key (RFC 9449), which go-oidc does not check.
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return err
	}
	if _, bound := claims["cnf"]; bound {
		return errors.New("bound to a key")
	}
	return nil
}
