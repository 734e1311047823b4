// golang-jwt, with the key set of keyfunc.
package main

import (
	"context"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"hallpass.dev/e2e/verifiers/internal/published"
	"hallpass.dev/e2e/verifiers/internal/verdict"
)

func main() {
	asked := verdict.Arguments()
	metadata, err := published.Discover(asked)
	verdict.Must(err)
	override := keyfunc.Override{Client: asked.Client}
	keys, err := keyfunc.NewDefaultOverrideCtx(context.Background(), []string{metadata.JWKSURI}, override)
	verdict.Must(err)
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{asked.Algorithm}),
		jwt.WithIssuer(asked.Issuer),
		jwt.WithAudience(asked.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
	)
	verdict.Judge(func(raw string) (map[string]any, error) {
		claims := jwt.MapClaims{}
		token, err := parser.ParseWithClaims(raw, claims, keys.Keyfunc)
		if err != nil {
			return nil, err
		}
		return claims, verdict.ExpectType(token.Header["typ"])
	})
}
