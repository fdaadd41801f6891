// An API that accepts TokenService's access tokens and answers as RFC 6750 §3 says. It needs only Go itself:
//
//	ISSUER=http://127.0.0.1:8080 AUDIENCE=https://api.example.com go run .
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	verifier, err := NewVerifier(os.Getenv("ISSUER"), os.Getenv("AUDIENCE"))
	if err != nil {
		log.Fatal(err)
	}

	list := requireScope(verifier, "invoices:read", func(w http.ResponseWriter, r *http.Request, caller Claims) {
		answer(w, http.StatusOK, map[string]any{"invoices": []string{}, "client": caller["client_id"]})
	})
	create := requireScope(verifier, "invoices:write", func(w http.ResponseWriter, r *http.Request, caller Claims) {
		answer(w, http.StatusCreated, map[string]any{"created": true, "client": caller["client_id"]})
	})
	http.HandleFunc("/invoices", func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
			list(w, r)
		case http.MethodPost:
			create(w, r)
		default:
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	})

	address := "127.0.0.1:3000"
	if port := os.Getenv("PORT"); port != "" {
		address = "127.0.0.1:" + port
	}
	server := &http.Server{Addr: address, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 32 << 10}
	log.Printf("Listening on http://%s", address)
	log.Fatal(server.ListenAndServe())
}

type handler func(http.ResponseWriter, *http.Request, Claims)

// requireScope lets a request through if it has a good token with this scope.
func requireScope(verifier *Verifier, scope string, next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			refuse(w, http.StatusUnauthorized, "Bearer") // no credential: a challenge, and no error
			return
		}

		caller, err := verifier.Verify(strings.TrimSpace(token))
		var bad BadToken
		switch {
		case errors.As(err, &bad):
			log.Print(err)
			refuse(w, http.StatusUnauthorized, `Bearer error="invalid_token"`)
		case err != nil: // there are no keys to verify with, which is not the caller's fault
			log.Print(err)
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		case !caller.HasScope(scope):
			refuse(w, http.StatusForbidden, fmt.Sprintf(`Bearer error="insufficient_scope", scope="%s"`, scope))
		default:
			next(w, r, caller)
		}
	}
}

func refuse(w http.ResponseWriter, status int, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	w.WriteHeader(status)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // it fails only when the caller has gone
}
