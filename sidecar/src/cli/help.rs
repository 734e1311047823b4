//! The text of `--help`.

pub(super) const TEXT: &str = "\
hallpass-sidecar: holds the short-lived tokens of this pod and serves them to its containers

Usage:
  hallpass-sidecar serve
      Fetches the tokens that the operator assigns to this pod, replaces each ahead of its
      expiry, and serves them to each container on /run/hallpass/CONTAINER/hallpass.sock and
      as files in /run/hallpass/CONTAINER/tokens/. An expired token is never served.
      Needs HALLPASS_OPERATOR (host:port). What HALLPASS_REPLICAS (host:port) leads to is asked
      too where that does not answer within 300 ms. Both are trusted by the file ca.pem beside
      the pod's identity token; where there is none, by the certificates in HALLPASS_CA (PEM)
      and those that they vouch for later. What is held outlives a crash in
      /var/cache/hallpass, where there is such a directory. Ends at SIGTERM.

  hallpass-sidecar get NAME [--container CONTAINER]
      Prints the token NAME, nothing else, to look at it or to pass it on:
          kubectl exec POD -c hallpass -- /hallpass-sidecar get vault --container app
      The socket is HALLPASS_SOCKET where that is set, else that of CONTAINER, else that of
      the only container. Where there is no token: exit code 1, and why on standard error.

  hallpass-sidecar wait
      Waits up to 10 seconds for every required token of every container. Exit code 0 when
      they are there; otherwise 1, and a line for each that is missing, with the reason. It is
      the startup probe, so that `kubectl describe pod` shows those lines.

In a container the socket is /var/run/hallpass/hallpass.sock (HALLPASS_SOCKET):
  curl --unix-socket \"$HALLPASS_SOCKET\" http://hallpass/v1/tokens
  curl --unix-socket \"$HALLPASS_SOCKET\" -H 'Accept: text/plain' http://hallpass/v1/tokens/NAME
";
