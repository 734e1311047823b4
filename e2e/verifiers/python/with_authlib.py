"""Authlib's resource server: RFC 9068 (JWT access tokens) over RFC 8414 (metadata)."""

from types import SimpleNamespace

from authlib.oauth2 import ResourceProtector
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet

from published import Published
from verdict import arguments, judge

asked = arguments()
published = Published(asked.issuer, asked.ca, get_well_known_url(asked.issuer, external=True))
AuthorizationServerMetadata(published.metadata).validate()


class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return KeySet.import_key_set(published.keys())


protector = ResourceProtector()
protector.register_token_validator(Validator(asked.issuer, asked.audience))


def verify(token):
    request = SimpleNamespace(headers={"Authorization": f"Bearer {token}"})
    return dict(protector.validate_request(None, request))


judge(verify)
