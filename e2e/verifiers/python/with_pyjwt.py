"""PyJWT, with its PyJWKClient."""

import ssl

import jwt

from published import Published
from verdict import arguments, expect_type, judge

asked = arguments()
metadata = Published(asked.issuer, asked.ca).metadata
keys = jwt.PyJWKClient(metadata["jwks_uri"], ssl_context=ssl.create_default_context(cafile=asked.ca))


def verify(token):
    decoded = jwt.decode_complete(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=[asked.algorithm],
        issuer=asked.issuer,
        audience=asked.audience,
        options={"require": ["iss", "aud", "exp", "iat", "sub", "jti", "client_id"]},
    )
    expect_type(decoded["header"])
    return decoded["payload"]


judge(verify)
