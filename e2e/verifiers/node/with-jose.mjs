// jose, with its remote key set.
import { createRemoteJWKSet, jwtVerify } from 'jose'

import { asked, judge } from './verdict.mjs'

const { issuer, audience, algorithm } = asked()
const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()
if (metadata.issuer !== issuer) throw new Error(`the metadata is of the issuer ${metadata.issuer}`)
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
const options = {
  issuer,
  audience,
  algorithms: [algorithm],
  typ: 'at+jwt',
  requiredClaims: ['exp', 'iat', 'sub', 'jti', 'client_id'],
}

await judge(async (token) => (await jwtVerify(token, keys, options)).payload)
