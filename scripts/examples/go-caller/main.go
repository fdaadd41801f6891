// Calls an API a few times with one token. It needs only Go itself:
//
//	export ISSUER=http://127.0.0.1:8080 CLIENT_ID=… CLIENT_SECRET=…
//	SCOPE=invoices:read API_URL=http://127.0.0.1:3000/invoices go run .
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

func main() {
	address := os.Getenv("API_URL")
	api, err := url.Parse(address)
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := NewCredentials(context.Background(),
		os.Getenv("ISSUER"), os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET"), os.Getenv("SCOPE"))
	if err != nil {
		log.Fatal(err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.ResponseHeaderTimeout = 10 * time.Second
	client := &http.Client{Transport: &Transport{Credentials: credentials, API: api, Base: base}}

	calls, err := strconv.Atoi(os.Getenv("CALLS"))
	if err != nil {
		calls = 3
	}
	succeeded := make(chan bool)
	call := func() {
		status, body, err := get(client, address)
		fmt.Println(status, body, err)
		succeeded <- err == nil && status == http.StatusOK
	}
	if len(os.Args) > 1 && os.Args[1] == "--at-once" {
		for i := 0; i < calls; i++ {
			go call()
		}
	} else {
		go func() {
			for i := 0; i < calls; i++ {
				call()
			}
		}()
	}

	exit := 0
	for i := 0; i < calls; i++ {
		if !<-succeeded {
			exit = 1
		}
	}
	os.Exit(exit)
}

func get(client *http.Client, address string) (status int, body string, err error) {
	response, err := client.Get(address)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, string(text), err
}
