// The snippet of docs/verifying.md, as it stands: ../../documented puts it beside this file.
package main

import (
	"encoding/json"
	"os"

	"hallpass.dev/e2e/verifiers/internal/verdict"
)

func main() {
	verdict.Judge(func(token string) (map[string]any, error) {
		claims, err := verify(token, os.Getenv("SCOPE"))
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(claims)
		if err != nil {
			return nil, err
		}
		var all map[string]any
		return all, json.Unmarshal(text, &all)
	})
}
