// node-oidc-provider as a peer: client credentials for JWTs (ES256) and for opaque tokens, and their
// introspection, over TLS 1.3, in memory. Prints its port. Its argument is a folder with tls.crt and tls.key.
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'

import { Provider } from 'oidc-provider'

const folder = process.argv[2]
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
const client = (client_id) => ({
  client_id,
  client_secret: 'bench',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: 'client_secret_post',
  id_token_signed_response_alg: 'ES256',
})
const provider = new Provider('https://bench.example', {
  jwks: { keys: [{ ...key, alg: 'ES256', use: 'sig', kid: 'bench' }] },
  clients: [client('consumer'), client('verifier')],
  scopes: ['read'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        audience: resource,
        scope: 'read',
        accessTokenTTL: 3600,
        accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
})
const server = createServer(
  { cert: readFileSync(`${folder}/tls.crt`), key: readFileSync(`${folder}/tls.key`), minVersion: 'TLSv1.3' },
  provider.callback(),
)
server.keepAliveTimeout = 75_000
server.listen(0, '0.0.0.0', () => console.log(server.address().port))
