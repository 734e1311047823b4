// go-oidc: made for ID tokens, used for access tokens by many. Fetches the key set itself.
package main

import (
	"context"

	"github.com/coreos/go-oidc/v3/oidc"

	"hallpass.dev/e2e/verifiers/internal/verdict"
)

func main() {
	asked := verdict.Arguments()
	ctx := oidc.ClientContext(context.Background(), asked.Client)
	provider, err := oidc.NewProvider(ctx, asked.Issuer)
	verdict.Must(err)
	verifier := provider.VerifierContext(ctx, &oidc.Config{
		ClientID:             asked.Audience,
		SupportedSigningAlgs: []string{asked.Algorithm},
	})
	verdict.Judge(func(raw string) (map[string]any, error) {
		token, err := verifier.Verify(ctx, raw)
		if err != nil {
			return nil, err
		}
		var claims map[string]any
		return claims, token.Claims(&claims)
	})
}
