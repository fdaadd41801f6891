// oauth4webapi: prints a token. With "verify" it prints, for each token on standard input, "accepted" or "refused" and
// why.

import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { importJWK } from 'jose'
import * as oauth from 'oauth4webapi'

const { ISSUER, AUDIENCE, CLIENT_ID, CLIENT_SECRET, CLIENT_KEY, DPOP, SCOPE, METHOD } = process.env
const issuer = new URL(ISSUER)
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }), // RFC 8414
)

if (process.argv.includes('verify')) await verify()
else await getToken()

async function getToken() {
  const client = { client_id: CLIENT_ID }
  const authentication = await authenticate()
  const DPoP = DPOP ? oauth.DPoP(client, await oauth.generateKeyPair('ES256')) : undefined
  const send = async () => {
    const parameters = { scope: SCOPE }
    const response = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters, { DPoP })
    return oauth.processClientCredentialsResponse(server, client, response)
  }
  // RFC 9449 §8: the handle DPoP has kept the nonce of the answer, and the second request has another assertion.
  const granted = await send().catch((error) => (oauth.isDPoPNonceError(error) ? send() : Promise.reject(error)))
  if (DPoP) await callWith(DPoP, granted)
  console.log(granted.access_token)
}

async function authenticate() {
  if (METHOD === 'client_secret_post') return oauth.ClientSecretPost(CLIENT_SECRET)
  if (METHOD !== 'private_key_jwt') return oauth.ClientSecretBasic(CLIENT_SECRET)
  const jwk = JSON.parse(await readFile(CLIENT_KEY, 'utf8'))
  return oauth.PrivateKeyJwt({ key: await importJWK(jwk), kid: jwk.kid }) // aud is the issuer
}

// The API is in this program: it demands a proof for the token (RFC 9449 §7).
async function callWith(DPoP, granted) {
  if (granted.token_type !== 'dpop') throw new Error('The token is not bound.')
  await oauth.protectedResourceRequest(granted.access_token, 'GET', new URL(AUDIENCE), undefined, undefined, {
    DPoP,
    [oauth.customFetch]: async (url, options) => {
      await oauth.validateJwtAccessToken(server, new Request(url, options), AUDIENCE, { requireDPoP: true })
      return new Response()
    },
  })
}

async function verify() {
  for (const token of (await text(process.stdin)).trim().split('\n')) {
    const request = new Request(AUDIENCE, { headers: { Authorization: `Bearer ${token}` } })
    try {
      await oauth.validateJwtAccessToken(server, request, AUDIENCE) // RFC 9068
      console.log('accepted')
    } catch (error) {
      console.log('refused', error.message)
    }
  }
}
