// golang.org/x/oauth2: prints a token.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	config := clientcredentials.Config{
		ClientID:     os.Getenv("CLIENT_ID"),
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		TokenURL:     os.Getenv("ISSUER") + "/token",
		Scopes:       strings.Fields(os.Getenv("SCOPE")),
	}
	// The default is to try Basic, and then the body.
	switch os.Getenv("METHOD") {
	case "client_secret_basic":
		config.AuthStyle = oauth2.AuthStyleInHeader
	case "client_secret_post":
		config.AuthStyle = oauth2.AuthStyleInParams
	}

	token, err := config.Token(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.AccessToken)
}
