// oauth4webapi: prints a token. With "verify" it prints, for each token on standard input, "accepted" or "refused" and
// why.

import { text } from 'node:stream/consumers'
import * as oauth from 'oauth4webapi'

const { ISSUER, AUDIENCE, CLIENT_ID, CLIENT_SECRET, SCOPE, METHOD } = process.env
const issuer = new URL(ISSUER)
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }), // RFC 8414
)

if (process.argv.includes('verify')) await verify()
else await getToken()

async function getToken() {
  const client = { client_id: CLIENT_ID }
  const authentication =
    METHOD === 'client_secret_post' ? oauth.ClientSecretPost(CLIENT_SECRET) : oauth.ClientSecretBasic(CLIENT_SECRET)
  const response = await oauth.clientCredentialsGrantRequest(server, client, authentication, { scope: SCOPE })
  const granted = await oauth.processClientCredentialsResponse(server, client, response)
  console.log(granted.access_token)
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
