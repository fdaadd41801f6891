// jose: a client that signs its assertion itself (RFC 7523). Prints the token, once it has verified it.

import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRemoteJWKSet, importJWK, jwtVerify, SignJWT } from 'jose'

const { ISSUER, AUDIENCE, CLIENT_ID, CLIENT_KEY, SCOPE } = process.env
const metadata = await (await fetch(`${ISSUER}/.well-known/oauth-authorization-server`)).json()

const jwk = JSON.parse(await readFile(CLIENT_KEY, 'utf8'))
const assertion = await new SignJWT()
  .setProtectedHeader({ alg: jwk.alg, kid: jwk.kid, typ: 'client-authentication+jwt' })
  .setIssuer(CLIENT_ID)
  .setSubject(CLIENT_ID)
  .setAudience(metadata.issuer)
  .setJti(randomUUID()) // it works once
  .setIssuedAt()
  .setExpirationTime('1 minute')
  .sign(await importJWK(jwk))

const response = await fetch(metadata.token_endpoint, {
  method: 'POST',
  body: new URLSearchParams({
    grant_type: 'client_credentials',
    scope: SCOPE,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
  }),
})
const granted = await response.json()
if (!response.ok) throw new Error(JSON.stringify(granted))

const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
await jwtVerify(granted.access_token, keys, { issuer: ISSUER, audience: AUDIENCE, typ: 'at+jwt', requiredClaims: ['exp'] })
console.log(granted.access_token)
