// oauth4webapi: RFC 9068 (JWT access tokens) over RFC 8414 (metadata).
import * as oauth from 'oauth4webapi'

import { asked, judge } from './verdict.mjs'

const { issuer, audience, algorithm } = asked()
const url = new URL(issuer)
const response = await oauth.discoveryRequest(url, { algorithm: 'oauth2' })
const server = await oauth.processDiscoveryResponse(url, response)

await judge((token) => {
  const request = new Request('https://resource.example/', { headers: { authorization: `Bearer ${token}` } })
  return oauth.validateJwtAccessToken(server, request, audience, { signingAlgorithms: [algorithm] })
})
