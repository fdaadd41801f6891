// openid-client: prints a token. With DPOP the token is bound to a key (RFC 9449), and it also calls the API at API_URL.

import { readFile } from 'node:fs/promises'
import { importJWK } from 'jose'
import * as openid from 'openid-client'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, CLIENT_KEY, DPOP, SCOPE, METHOD, API_URL } = process.env
// The default, with a secret in the third argument, is the body.
const authentication = {
  client_secret_basic: () => openid.ClientSecretBasic(CLIENT_SECRET),
  client_secret_post: () => openid.ClientSecretPost(CLIENT_SECRET),
  private_key_jwt: async () => {
    const jwk = JSON.parse(await readFile(CLIENT_KEY, 'utf8'))
    return openid.PrivateKeyJwt({ key: await importJWK(jwk), kid: jwk.kid }) // aud is the issuer
  },
}[METHOD]

const config = await openid.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, await authentication?.())
// It obeys a demand for a nonce by itself.
const DPoP = DPOP ? openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256')) : undefined
const granted = await openid.clientCredentialsGrant(config, { scope: SCOPE }, { DPoP })
if (DPoP && granted.token_type !== 'dpop') throw new Error('The token is not bound.')
if (DPoP && API_URL) {
  openid.allowInsecureRequests(config) // the API of the check has no TLS
  const options = { DPoP }
  const response = await openid.fetchProtectedResource(
    config, granted.access_token, new URL(API_URL), 'GET', undefined, undefined, options)
  if (!response.ok) throw new Error(`${API_URL} answers ${response.status}`)
}
console.log(granted.access_token)
