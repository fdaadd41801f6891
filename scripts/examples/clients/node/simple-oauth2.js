// simple-oauth2: prints a token.

import { ClientCredentials } from 'simple-oauth2'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, SCOPE, METHOD } = process.env
// The default is Basic.
const authorizationMethod = { client_secret_basic: 'header', client_secret_post: 'body' }[METHOD]

const client = new ClientCredentials({
  client: { id: CLIENT_ID, secret: CLIENT_SECRET },
  auth: { tokenHost: ISSUER, tokenPath: '/token' },
  ...(authorizationMethod && { options: { authorizationMethod } }),
})
const { token } = await client.getToken({ scope: SCOPE.split(' ') })
console.log(token.access_token)
