"""The snippets of docs/verifying.md, as they stand but for the names of the issuer, the audience, the file of
the authority and the upstream: filters.yaml and cluster.yaml of the folder that is named.
"""

import json
import os
import pathlib
import sys
import tempfile
import textwrap
import urllib.parse

from with_envoy import serve_upstream, start, verdict

CONFIGURATION = """\
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 0}}
static_resources:
  listeners:
  - name: door
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: verifier
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: upstream}}]}
          http_filters:
FILTERS
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: upstream
    connect_timeout: 5s
    load_assignment:
      cluster_name: upstream
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]
CLUSTER
"""


def replaced(text, *changes):
    """The text with each of the names changed. Every one has to be there."""
    for name, other in changes:
        if name not in text:
            sys.exit(f"no {name} in the document")
        text = text.replace(name, other)
    return text


folder = pathlib.Path(sys.argv[1])
issuer = urllib.parse.urlsplit(os.environ["ISSUER"])
filters = replaced(
    (folder / "filters.yaml").read_text(),
    ("https://hallpass.hallpass-system.svc", issuer.geturl()),
    ("https://payments.payments.svc", os.environ["AUDIENCE"]),
    ("payments:read", os.environ["SCOPE"]),
)
# the issuer of a test is an address, where the document has a name
cluster = replaced(
    (folder / "cluster.yaml").read_text(),
    ("sni: hallpass.hallpass-system.svc", 'sni: ""'),
    ("san_type: DNS", "san_type: IP_ADDRESS"),
    ("hallpass.hallpass-system.svc", issuer.hostname),
    ("port_value: 443", f"port_value: {issuer.port}"),
    ("/etc/hallpass/ca.pem", os.environ["CA_FILE"]),
)
with tempfile.TemporaryDirectory() as place:
    config = replaced(
        CONFIGURATION,
        ("PORT", str(serve_upstream())),
        ("FILTERS", textwrap.indent(filters, " " * 10)),
        ("CLUSTER", textwrap.indent(cluster, " " * 2)),
    )
    port = start(config, pathlib.Path(place))
    for line in sys.stdin:
        print(json.dumps(verdict(port, line.strip())), flush=True)
