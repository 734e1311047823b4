// Package published is what an issuer publishes, for libraries that leave the fetching to their user.
package published

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"hallpass.dev/e2e/verifiers/internal/verdict"
)

// Metadata is the part of the discovery document that a verifier needs.
type Metadata struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// Discover reads the OpenID Connect discovery document.
func Discover(asked verdict.Asked) (Metadata, error) {
	var metadata Metadata
	url := asked.Issuer + "/.well-known/openid-configuration"
	if _, err := Fetch(asked.Client, url, &metadata); err != nil {
		return metadata, err
	}
	if metadata.Issuer != asked.Issuer {
		return metadata, fmt.Errorf("%s is of the issuer %s", url, metadata.Issuer)
	}
	return metadata, nil
}

var maxAge = regexp.MustCompile(`max-age=(\d+)`)

// Fetch reads a JSON document and says for how long its Cache-Control allows to keep it.
func Fetch(client *http.Client, url string, into any) (time.Duration, error) {
	response, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", url, response.Status)
	}
	var age int
	if found := maxAge.FindStringSubmatch(response.Header.Get("Cache-Control")); found != nil {
		if age, err = strconv.Atoi(found[1]); err != nil {
			return 0, err
		}
	}
	return time.Duration(age) * time.Second, json.NewDecoder(response.Body).Decode(into)
}
