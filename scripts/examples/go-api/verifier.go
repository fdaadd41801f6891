package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	clockTolerance = 30 * time.Second
	keysMaxAge     = 5 * time.Minute  // the max-age of TokenService's JWKS
	keysMinAge     = 30 * time.Second // anybody can invent a kid, so an unknown one does not always cause a fetch
	maxDocument    = 1 << 20          // bytes
)

// BadToken says what is wrong with a token, for the API's log.
type BadToken string

func (b BadToken) Error() string { return "bad token: " + string(b) }

// Claims are in a map because encoding/json, given a struct, would also read "SCOPE" as "scope".
type Claims map[string]any

// HasScope tells whether the claim lists the scope. RFC 6749 §3.3: scopes are separated by spaces.
func (c Claims) HasScope(scope string) bool {
	all, _ := c["scope"].(string)
	for _, one := range strings.Split(all, " ") {
		if one == scope {
			return true
		}
	}
	return false
}

// isFor tells whether the claim aud is the API's id, or a list that has it.
func (c Claims) isFor(audience string) bool {
	all, ok := c["aud"].([]any)
	if !ok {
		all = []any{c["aud"]}
	}
	for _, one := range all {
		if one == audience {
			return true
		}
	}
	return false
}

// Verifier verifies access tokens of one issuer for one API, offline (RFC 9068 §4). Keys come from the issuer's own
// metadata, never from an address inside a token.
type Verifier struct {
	issuer, audience, jwksURI string
	http                      *http.Client

	mutex   sync.Mutex
	keys    map[string]publicKey // by kid
	fetched time.Time
	tried   time.Time
	failure error // of the last fetch
}

// publicKey has its algorithm from the JWKS, so a token cannot choose another one for it.
type publicKey struct {
	algorithm string
	key       crypto.PublicKey
}

// NewVerifier fetches the issuer's metadata and keys.
func NewVerifier(issuer, audience string) (*Verifier, error) {
	v := &Verifier{issuer: issuer, audience: audience, http: &http.Client{Timeout: 5 * time.Second}}
	var metadata struct {
		Issuer  string `json:"issuer"`
		JwksURI string `json:"jwks_uri"`
	}
	if err := v.getJSON(issuer+"/.well-known/oauth-authorization-server", &metadata); err != nil {
		return nil, err
	}
	if metadata.Issuer != issuer {
		return nil, fmt.Errorf("the metadata of %s is of %s", issuer, metadata.Issuer)
	}
	v.jwksURI = metadata.JwksURI
	v.fetchKeys()
	return v, v.failure
}

// Verify returns the claims of a good token, and a BadToken for a bad one. Any other error means that there is no key
// to verify with.
func (v *Verifier) Verify(token string) (Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, BadToken("not a JWT")
	}
	var header struct {
		Alg, Typ, Kid string
		Crit          any
	}
	if err := decode(parts[0], &header); err != nil {
		return nil, err
	}
	// RFC 9068 §4: only access tokens, no other JWT of this issuer.
	if typ := strings.ToLower(header.Typ); typ != "at+jwt" && typ != "application/at+jwt" {
		return nil, BadToken("not of type at+jwt")
	}
	if header.Crit != nil { // RFC 7515 §4.1.11: extensions that this verifier does not understand
		return nil, BadToken("a critical extension")
	}

	key, err := v.key(header.Kid)
	if err != nil {
		return nil, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || header.Alg != key.algorithm || !key.verifies(parts[0]+"."+parts[1], signature) {
		return nil, BadToken("the signature is wrong")
	}

	var claims Claims
	if err := decode(parts[1], &claims); err != nil {
		return nil, err
	}
	return claims, v.check(claims, time.Now())
}

func (v *Verifier) check(claims Claims, now time.Time) error {
	if claims["iss"] != v.issuer {
		return BadToken("of another issuer")
	}
	if !claims.isFor(v.audience) {
		return BadToken("for another audience")
	}
	// A token with cnf is bound to a key (RFC 9449). This API verifies no proofs, so a thief could use such a token here.
	if _, bound := claims["cnf"]; bound {
		return BadToken("bound to a key")
	}
	if exp, ok := seconds(claims["exp"]); !ok || !now.Before(exp.Add(clockTolerance)) {
		return BadToken("expired, or without exp")
	}
	if _, ok := seconds(claims["iat"]); !ok {
		return BadToken("without iat")
	}
	if nbf, ok := seconds(claims["nbf"]); claims["nbf"] != nil && (!ok || now.Add(clockTolerance).Before(nbf)) {
		return BadToken("not yet valid")
	}
	for _, name := range []string{"jti", "sub", "client_id"} { // RFC 9068 §2.2
		if text, _ := claims[name].(string); text == "" {
			return BadToken("without " + name)
		}
	}
	return nil
}

// key finds a key, and fetches the keys when they are old or lack this one. While the issuer does not answer, the keys
// that are known stay in use.
func (v *Verifier) key(kid string) (publicKey, error) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	key, known := v.keys[kid]
	if (!known || time.Since(v.fetched) > keysMaxAge) && time.Since(v.tried) > keysMinAge {
		v.fetchKeys()
		key, known = v.keys[kid]
	}
	if !known && v.failure != nil {
		return key, v.failure
	}
	if !known {
		return key, BadToken("signed with an unknown key")
	}
	return key, nil
}

func (v *Verifier) fetchKeys() {
	var jwks struct{ Keys []jwk }
	v.tried = time.Now()
	v.failure = v.getJSON(v.jwksURI, &jwks)
	keys := map[string]publicKey{}
	for _, one := range jwks.Keys {
		if key, ok := one.publicKey(); ok {
			keys[one.Kid] = key
		}
	}
	if v.failure == nil && len(keys) == 0 {
		v.failure = fmt.Errorf("%s has no key that can be used", v.jwksURI)
	}
	if v.failure != nil {
		log.Printf("There are no new keys: %v", v.failure)
		return
	}
	v.keys, v.fetched = keys, v.tried
}

func (v *Verifier) getJSON(address string, into any) error {
	response, err := v.http.Get(address)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, response.Status)
	}
	return json.NewDecoder(io.LimitReader(response.Body, maxDocument)).Decode(into)
}

// jwk is a public key as RFC 7517 and RFC 7518 §6 write it.
type jwk struct{ Kid, Alg, Kty, Crv, X, Y, N, E string }

// publicKey passes over keys of algorithms that this verifier does not know.
func (j jwk) publicKey() (key publicKey, ok bool) {
	switch j.Alg + " " + j.Kty + " " + j.Crv {
	case "ES256 EC P-256":
		return j.ec(elliptic.P256())
	case "ES384 EC P-384":
		return j.ec(elliptic.P384())
	case "RS256 RSA ", "PS256 RSA ":
		n, e := number(j.N), number(j.E)
		return publicKey{j.Alg, &rsa.PublicKey{N: n, E: int(e.Int64())}}, n.BitLen() >= 2048 && e.IsInt64()
	}
	return key, false
}

func (j jwk) ec(curve elliptic.Curve) (publicKey, bool) {
	x, y := number(j.X), number(j.Y)
	return publicKey{j.Alg, &ecdsa.PublicKey{Curve: curve, X: x, Y: y}}, curve.IsOnCurve(x, y)
}

func (k publicKey) verifies(signed string, signature []byte) bool {
	hash := crypto.SHA256
	if k.algorithm == "ES384" {
		hash = crypto.SHA384
	}
	hasher := hash.New()
	hasher.Write([]byte(signed))
	digest := hasher.Sum(nil)

	switch key := k.key.(type) {
	case *ecdsa.PublicKey: // RFC 7518 §3.4: r and s, each as long as the curve's numbers
		size := len(digest) // true of both curves
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key, digest, r, s)
	case *rsa.PublicKey:
		if k.algorithm == "PS256" {
			return rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
	}
	return false
}

func decode(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return BadToken("not a JWT: " + err.Error())
	}
	return nil
}

func number(text string) *big.Int {
	octets, _ := base64.RawURLEncoding.DecodeString(text) // a number that is cut short fails the checks of its key
	return new(big.Int).SetBytes(octets)
}

// seconds reads a NumericDate (RFC 7519 §2).
func seconds(claim any) (time.Time, bool) {
	value, ok := claim.(float64)
	return time.Unix(int64(value), 0), ok && value >= 0 && value < 1e11
}
