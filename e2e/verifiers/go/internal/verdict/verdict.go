// Package verdict is what the programs of this module share: their arguments, and a verdict for
// each line.
package verdict

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// Asked is what a program is asked to verify.
type Asked struct {
	Issuer    string
	Audience  string
	Algorithm string
	// Client trusts the authority of --ca and nobody else.
	Client *http.Client
}

// Arguments reads the command line.
func Arguments() Asked {
	var asked Asked
	flag.StringVar(&asked.Issuer, "issuer", "", "the issuer's URL")
	flag.StringVar(&asked.Audience, "audience", "", "the audience that a token must have")
	flag.StringVar(&asked.Algorithm, "algorithm", "ES256", "the one algorithm that is allowed")
	ca := flag.String("ca", "", "the authority of the issuer's certificate, in PEM")
	flag.Parse()
	pem, err := os.ReadFile(*ca)
	Must(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		Must(fmt.Errorf("no certificate in %s", *ca))
	}
	asked.Client = &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	return asked
}

// Judge prints a verdict for each line of stdin. A token is good unless verify fails.
func Judge(verify func(token string) (map[string]any, error)) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		claims, err := verify(strings.TrimSpace(lines.Text()))
		verdict := map[string]any{"accepted": err == nil}
		if err == nil {
			verdict["claims"] = claims
		} else {
			verdict["error"] = err.Error()
		}
		Must(json.NewEncoder(os.Stdout).Encode(verdict))
	}
	Must(lines.Err())
}

// ExpectType is RFC 9068, section 4: for libraries that return the header and leave typ to their user.
func ExpectType(typ any) error {
	text, _ := typ.(string)
	switch strings.ToLower(text) {
	case "at+jwt", "application/at+jwt":
		return nil
	}
	return fmt.Errorf("the type is %v", typ)
}

// Must ends the program where it cannot go on.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
