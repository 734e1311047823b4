// The least sidecar in Go that holds the tokens of a pod: it asks for its assignments, fetches every token, replaces
// it in time, and serves it on a socket. It does not outlive a fault and writes no files.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const identity, trust = "/var/run/secrets/hallpass.dev/token", "/var/run/secrets/hallpass.dev/ca.pem"
const socket = "/run/hallpass/app/hallpass.sock"

type token struct {
	Name      string    `json:"name"`
	Token     string    `json:"token"`
	Audience  string    `json:"audience"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
	due       time.Time
}

type sidecar struct {
	lock   sync.RWMutex
	tokens map[string]token
	etag   string
}

// ask opens a connection for one request: the next one is half a minute away.
func (s *sidecar) ask(method, path string, body []byte, into any) (time.Duration, error) {
	pem, err := os.ReadFile(trust)
	if err != nil {
		return 0, err
	}
	bearer, err := os.ReadFile(identity)
	if err != nil {
		return 0, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
	request, err := http.NewRequest(method, "https://"+os.Getenv("HALLPASS_OPERATOR")+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(bearer)))
	if method == http.MethodGet && s.etag != "" {
		request.Header.Set("If-None-Match", s.etag)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if method == http.MethodGet {
		s.etag = answer.Header.Get("ETag")
	}
	age := 30
	fmt.Sscanf(answer.Header.Get("Cache-Control"), "max-age=%d", &age)
	pause := time.Duration(float64(age) * (0.9 + 0.2*rand.Float64()) * float64(time.Second))
	switch answer.StatusCode {
	case http.StatusNotModified:
		return pause, nil
	case http.StatusOK:
		return pause, json.NewDecoder(answer.Body).Decode(into)
	}
	return 0, fmt.Errorf("%s %s: %s", method, path, answer.Status)
}

// fetch replaces the tokens that are due, all of them where there is none.
func (s *sidecar) fetch(first bool) error {
	names := []string{}
	s.lock.RLock()
	for name, held := range s.tokens {
		if !time.Now().Before(held.due) {
			names = append(names, name)
		}
	}
	s.lock.RUnlock()
	if len(names) == 0 && !first {
		return nil
	}
	wanted := map[string]any{}
	if !first {
		wanted["names"] = names
	}
	body, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	var answer struct{ Tokens []token }
	if _, err := s.ask(http.MethodPost, "/v1/tokens", body, &answer); err != nil {
		return err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, got := range answer.Tokens {
		if got.Token != "" {
			life := float64(got.ExpiresAt.Sub(got.IssuedAt))
			got.due = got.IssuedAt.Add(time.Duration(life * (0.5 + 0.3*rand.Float64())))
			s.tokens[got.Name] = got
		}
	}
	return nil
}

func (s *sidecar) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	s.lock.RLock()
	held, found := s.tokens[strings.TrimPrefix(request.URL.Path, "/v1/tokens/")]
	s.lock.RUnlock()
	left := time.Until(held.ExpiresAt)
	if !found || left <= 0 {
		http.Error(answer, "pending", http.StatusServiceUnavailable)
		return
	}
	answer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(answer).Encode(map[string]any{
		"name": held.Name, "access_token": held.Token, "token_type": "Bearer", "audience": held.Audience,
		"issued_at": held.IssuedAt, "expires_at": held.ExpiresAt, "expires_in": int(left.Seconds()),
	})
}

func main() {
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	s := &sidecar{tokens: map[string]token{}}
	go func() { log.Fatal(http.Serve(listener, s)) }()
	for first := true; ; {
		var assignments any
		pause, err := s.ask(http.MethodGet, "/v1/assignments", nil, &assignments)
		if err == nil {
			err = s.fetch(first)
		}
		if err != nil {
			log.Print(err)
			pause = time.Second
		} else {
			first = false
		}
		time.Sleep(pause)
	}
}
