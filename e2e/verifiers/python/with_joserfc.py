"""joserfc: signatures and claims, no fetching."""

from joserfc import jwt
from joserfc.jwk import KeySet

from published import Published
from verdict import arguments, expect_type, judge

asked = arguments()
published = Published(asked.issuer, asked.ca)
claims = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": asked.issuer},
    aud={"essential": True, "value": asked.audience},
    exp={"essential": True},
    iat={"essential": True},
    sub={"essential": True},
    jti={"essential": True},
    client_id={"essential": True},
)


def verify(token):
    decoded = jwt.decode(token, KeySet.import_key_set(published.keys()), algorithms=[asked.algorithm])
    claims.validate(decoded.claims)
    expect_type(decoded.header)
    return decoded.claims


judge(verify)
