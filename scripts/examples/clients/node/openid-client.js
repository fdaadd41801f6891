// openid-client: prints a token.

import * as openid from 'openid-client'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, SCOPE, METHOD } = process.env
// The default, with a secret in the third argument, is the body.
const authentication = {
  client_secret_basic: openid.ClientSecretBasic(CLIENT_SECRET),
  client_secret_post: openid.ClientSecretPost(CLIENT_SECRET),
}[METHOD]

const config = await openid.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, authentication)
const granted = await openid.clientCredentialsGrant(config, { scope: SCOPE })
console.log(granted.access_token)
