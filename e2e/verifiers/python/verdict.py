"""What the programs of this folder share: their arguments, and a verdict for each line."""

import argparse
import json
import sys


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--issuer", required=True, help="the issuer's URL")
    parser.add_argument("--audience", required=True, help="the audience that a token must have")
    parser.add_argument("--ca", required=True, help="the authority of the issuer's certificate, in PEM")
    parser.add_argument("--algorithm", default="ES256", help="the one algorithm that is allowed")
    return parser.parse_args()


def judge(verify):
    """Prints a verdict for each line of stdin. A token is good unless `verify` raises."""
    for line in sys.stdin:
        try:
            verdict = {"accepted": True, "claims": verify(line.strip())}
        except Exception as why:
            # Authlib says the same for every fault, and hides which one in the cause
            why = why.__cause__ or why
            verdict = {"accepted": False, "error": f"{type(why).__name__}: {why}"}
        print(json.dumps(verdict), flush=True)


def expect_type(header):
    """RFC 9068, section 4: for libraries that return the header and leave `typ` to their user."""
    if str(header.get("typ", "")).lower() not in ("at+jwt", "application/at+jwt"):
        raise ValueError(f"the type is {header.get('typ')!r}")
