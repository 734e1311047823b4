"""What an issuer publishes, for libraries that leave the fetching to their user."""

import json
import re
import ssl
import time
import urllib.request


class Published:
    """The key set of the issuer, kept for as long as its Cache-Control allows and no longer.

    A key that is not in it is unknown until then: this is the verifier that a rotation has to wait for.
    """

    def __init__(self, issuer, ca, well_known=None):
        self.tls = ssl.create_default_context(cafile=ca)
        url = well_known or f"{issuer}/.well-known/openid-configuration"
        self.metadata, _ = self._fetch(url)
        if self.metadata["issuer"] != issuer:
            raise ValueError(f"{url} is of the issuer {self.metadata['issuer']}")
        self._until = 0.0
        self._keys = None

    def keys(self):
        if time.monotonic() >= self._until:
            asked = time.monotonic()
            self._keys, max_age = self._fetch(self.metadata["jwks_uri"])
            self._until = asked + max_age
        return self._keys

    def _fetch(self, url):
        with urllib.request.urlopen(url, context=self.tls, timeout=5) as response:
            age = re.search(r"max-age=(\d+)", response.headers.get("Cache-Control", ""))
            return json.load(response), int(age[1]) if age else 0
