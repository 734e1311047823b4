// go-jose: signatures and claims, no fetching.
package main

import (
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"hallpass.dev/e2e/verifiers/internal/published"
	"hallpass.dev/e2e/verifiers/internal/verdict"
)

// keys keeps the key set for as long as its Cache-Control allows and no longer. A key that is not
// in it is unknown until then.
type keys struct {
	asked verdict.Asked
	url   string
	set   jose.JSONWebKeySet
	until time.Time
}

func (k *keys) current() (*jose.JSONWebKeySet, error) {
	if now := time.Now(); !now.Before(k.until) {
		var set jose.JSONWebKeySet
		age, err := published.Fetch(k.asked.Client, k.url, &set)
		if err != nil {
			return nil, err
		}
		k.set, k.until = set, now.Add(age)
	}
	return &k.set, nil
}

func verify(asked verdict.Asked, keys *keys, raw string) (map[string]any, error) {
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(asked.Algorithm)})
	if err != nil {
		return nil, err
	}
	set, err := keys.current()
	if err != nil {
		return nil, err
	}
	var registered jwt.Claims
	var claims map[string]any
	if err := token.Claims(set, &registered, &claims); err != nil {
		return nil, err
	}
	if registered.Expiry == nil {
		return nil, errors.New("never expires")
	}
	expected := jwt.Expected{Issuer: asked.Issuer, AnyAudience: jwt.Audience{asked.Audience}}
	if err := registered.Validate(expected); err != nil {
		return nil, err
	}
	return claims, verdict.ExpectType(token.Headers[0].ExtraHeaders[jose.HeaderType])
}

func main() {
	asked := verdict.Arguments()
	metadata, err := published.Discover(asked)
	verdict.Must(err)
	keys := &keys{asked: asked, url: metadata.JWKSURI}
	verdict.Judge(func(raw string) (map[string]any, error) { return verify(asked, keys, raw) })
}
