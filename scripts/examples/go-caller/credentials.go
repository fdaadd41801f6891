package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	retries = 3
	maxWait = time.Minute      // when Retry-After is longer, the call fails
	pause   = 10 * time.Second // after a failed token request, so that a wrong secret does not cause one for each call
)

// Credentials gets a client's tokens (RFC 6749 §4.4). A program has one for each scope, and all its calls share it:
// there is one token request at a time, and while the token is good no call waits for it.
type Credentials struct {
	endpoint, id, secret, scope string
	http                        *http.Client

	mutex         sync.Mutex
	token         string
	renewAt, ends time.Time
	renewing      chan struct{} // closed when the token request is answered
	failure       error         // of the last token request
}

// NewCredentials reads the issuer's metadata.
func NewCredentials(ctx context.Context, issuer, id, secret, scope string) (*Credentials, error) {
	c := &Credentials{id: id, secret: secret, scope: scope, http: &http.Client{
		Timeout: 10 * time.Second, // for one attempt
		// A redirect would take the secret elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		return nil, err
	}
	var metadata struct {
		Issuer        string `json:"issuer"`
		TokenEndpoint string `json:"token_endpoint"`
	}
	if err := c.send(request, &metadata); err != nil {
		return nil, err
	}
	if metadata.Issuer != issuer {
		return nil, fmt.Errorf("the metadata of %s is of %s", issuer, metadata.Issuer)
	}
	c.endpoint = metadata.TokenEndpoint
	if !isSafe(issuer) || !isSafe(c.endpoint) {
		return nil, fmt.Errorf("the secret would go to %s unencrypted", c.endpoint)
	}
	return c, nil
}

// isSafe tells whether nobody on the way can read or change what is sent to an address.
func isSafe(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && (parsed.Scheme == "https" || parsed.Hostname() == "localhost" ||
		net.ParseIP(parsed.Hostname()).IsLoopback())
}

// Token returns a token that has not expired. While a renewal fails, that is the old one.
func (c *Credentials) Token(ctx context.Context) (string, error) {
	c.mutex.Lock()
	if c.renewing == nil && !time.Now().Before(c.renewAt) {
		c.renewing = make(chan struct{})
		go c.renew(c.renewing) // not with this caller's ctx: a caller that gives up must not cancel it for the others
	}
	renewing, token, good := c.renewing, c.token, time.Now().Before(c.ends)
	c.mutex.Unlock()
	if good {
		return token, nil
	}

	if renewing != nil {
		select {
		case <-renewing:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.failure != nil {
		return "", c.failure
	}
	return c.token, nil
}

// Drop forgets a token that an API refused, unless it was renewed already.
func (c *Credentials) Drop(token string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.token == token {
		c.renewAt, c.ends = time.Time{}, time.Time{}
	}
}

func (c *Credentials) renew(done chan struct{}) {
	asked := time.Now() // before the request, so that the token is not believed to live longer than it does
	token, life, err := c.ask()

	c.mutex.Lock()
	defer c.mutex.Unlock()
	defer close(done)
	c.renewing, c.failure = nil, err
	if err != nil {
		c.renewAt = time.Now().Add(longer(pause))
		return
	}
	c.token, c.ends, c.renewAt = token, asked.Add(life), asked.Add(renewAfter(life))
	fmt.Printf("A token for %v.\n", life)
}

// renewAfter is 80 % of the token's life or, if that is sooner, 60 seconds before its end, but at least half of it. Up
// to a tenth of the life is taken off, at random, so that replicas do not renew together.
func renewAfter(life time.Duration) time.Duration {
	after := life * 8 / 10
	if life-time.Minute < after {
		after = life - time.Minute
	}
	if after < life/2 {
		after = life / 2
	}
	return after - time.Duration(random()*float64(life)/10)
}

func (c *Credentials) ask() (token string, life time.Duration, err error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {c.scope}}
	request, err := http.NewRequest(http.MethodPost, c.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret)) // RFC 6749 §2.3.1: form-encoded first

	granted := struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}{ExpiresIn: 60} // RFC 6749 §5.1 only recommends expires_in; TokenService always sends it
	if err := c.send(request, &granted); err != nil {
		return "", 0, err
	}
	if granted.AccessToken == "" || !strings.EqualFold(granted.TokenType, "Bearer") {
		return "", 0, fmt.Errorf("%s answered without a bearer token", c.endpoint)
	}
	return granted.AccessToken, time.Duration(granted.ExpiresIn) * time.Second, nil
}

// send reads an answer of the issuer. The error shows the issuer's error and Request-Id, never a token.
func (c *Credentials) send(request *http.Request, into any) error {
	response, err := patiently(c.http.Do, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body := json.NewDecoder(io.LimitReader(response.Body, 1<<20))
	if response.StatusCode == http.StatusOK {
		return body.Decode(into)
	}
	var refusal struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = body.Decode(&refusal) // a proxy's error page is no JSON
	return fmt.Errorf("%s answered %s %s: %s (Request-Id: %s)", request.URL, response.Status, refusal.Error,
		refusal.Description, response.Header.Get("Request-Id"))
}

// Transport sends each request with a token, and once more with a new token when the API answers 401.
type Transport struct {
	Credentials *Credentials
	API         *url.URL          // the only host that gets the token, because every receiver could use it
	Base        http.RoundTripper // has a time limit for one attempt
}

// RoundTrip makes a Transport usable in any http.Client.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != t.API.Scheme || request.URL.Host != t.API.Host {
		closeBody(request)
		return nil, fmt.Errorf("the token is for %s and is not sent to %s", t.API.Host, request.URL.Host)
	}
	response, token, err := t.call(request)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, err
	}

	// The token was revoked, or its key withdrawn. After 403 a new token would not help: it would have the same scopes.
	t.Credentials.Drop(token)
	again, ok := repeated(request)
	if !ok {
		return response, nil
	}
	response.Body.Close()
	response, _, err = t.call(again)
	return response, err
}

func (t *Transport) call(request *http.Request) (response *http.Response, token string, err error) {
	token, err = t.Credentials.Token(request.Context())
	if err != nil {
		closeBody(request)
		return nil, "", err
	}
	with := request.Clone(request.Context()) // a RoundTripper must not change the request
	with.Header.Set("Authorization", "Bearer "+token)
	response, err = patiently(t.Base.RoundTrip, with)
	return response, token, err
}

// closeBody is for a request that is not sent: a RoundTripper must close its body all the same.
func closeBody(request *http.Request) {
	if request.Body != nil {
		request.Body.Close()
	}
}

// patiently waits as 429 and 503 ask, at most three times and at most a minute each.
func patiently(send func(*http.Request) (*http.Response, error), request *http.Request) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		response, err := send(request)
		if err != nil || attempt == retries ||
			response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
			return response, err
		}
		wait := retryAfter(response, time.Second<<attempt)
		again, ok := repeated(request)
		if wait > maxWait || !ok {
			return response, nil
		}
		response.Body.Close()
		request = again

		fmt.Printf("%d: again in %v.\n", response.StatusCode, wait)
		select {
		case <-time.After(longer(wait)):
		case <-request.Context().Done():
			return nil, request.Context().Err()
		}
	}
}

// retryAfter reads seconds or a date (RFC 9110 §10.2.3).
func retryAfter(response *http.Response, otherwise time.Duration) time.Duration {
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil && date.After(time.Now()) {
		return time.Until(date)
	}
	return otherwise
}

// repeated returns the request to be sent again, unless its body can be read only once.
func repeated(request *http.Request) (*http.Request, bool) {
	again := request.Clone(request.Context())
	if request.Body == nil || request.Body == http.NoBody {
		return again, true
	}
	if request.GetBody == nil {
		return nil, false
	}
	body, err := request.GetBody()
	again.Body = body
	return again, err == nil
}

// longer adds up to a quarter, at random, because other replicas were told to wait as long.
func longer(wait time.Duration) time.Duration {
	return wait + time.Duration(random()*float64(wait)/4)
}

// random returns a number from 0 to 1. Before Go 1.20 math/rand would return the same to every replica.
func random() float64 {
	n, err := rand.Int(rand.Reader, big.NewInt(1000))
	if err != nil {
		return 0
	}
	return float64(n.Int64()) / 1000
}
