// An API that accepts TokenService's access tokens and answers as RFC 6750 §3 and RFC 9449 §7 say:
//   ISSUER=http://127.0.0.1:8080 AUDIENCE=https://api.example.com npm start

import { createServer } from 'node:http'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import { BadProof, PROOF_ALGORITHMS, verifyProof } from './dpop.js'
import { followRevokedTokens } from './revoked-tokens.js'

const { ISSUER, AUDIENCE, PORT = '3000', LIST_SECONDS = '60' } = process.env
// The address that callers use, which a proof names. Behind a proxy it is the proxy's.
const { PUBLIC_URL = `http://127.0.0.1:${PORT}` } = process.env
const ALGS = `algs="${PROOF_ALGORITHMS.join(' ')}"`

// Keys come from the issuer's own metadata, never from an address inside a token. jose caches them, and fetches them
// again for an unknown key, at most every 30 seconds, so a rotation at the issuer needs no work here.
const metadata = await discover(ISSUER)
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri), { cacheMaxAge: 5 * 60_000 })
// Without this a revoked token is good until it expires.
const isRevoked = await followRevokedTokens(metadata.revoked_tokens_uri, keys, ISSUER, Number(LIST_SECONDS))

const expected = {
  issuer: ISSUER,
  audience: AUDIENCE,
  typ: 'at+jwt', // RFC 9068 §4: only access tokens, no other JWT of this issuer
  algorithms: ['ES256', 'ES384', 'RS256', 'PS256'],
  requiredClaims: ['exp', 'iat', 'jti', 'sub', 'client_id'],
  clockTolerance: 30, // seconds
}

const routes = {
  'GET /invoices': { scope: 'invoices:read', answer: (token) => ({ invoices: [], client: token.client_id }) },
  'POST /invoices': { scope: 'invoices:write', answer: (token) => ({ created: true, client: token.client_id }) },
}

createServer(async (request, response) => {
  const route = routes[`${request.method} ${request.url.split('?')[0]}`]
  if (!route) return send(response, 404)

  try {
    const token = await authenticate(request)
    requireScope(token, route.scope)
    send(response, 200, {}, route.answer(token))
  } catch (error) {
    if (error instanceof Refusal) return send(response, error.status, { 'WWW-Authenticate': error.challenge })
    console.error(error)
    send(response, 503, { 'Retry-After': '5' }) // no keys or list to verify with: not the caller's fault
  }
}).listen(Number(PORT), '127.0.0.1', () => console.log(`Listening on http://127.0.0.1:${PORT}`))

async function authenticate(request) {
  const [, scheme, token] = /^(Bearer|DPoP)(?: +(.*))?$/i.exec(request.headers.authorization ?? '') ?? []
  if (!scheme) throw new Refusal(401, ['Bearer', `DPoP ${ALGS}`]) // no credential: challenges, and no error

  const isDpop = scheme.toLowerCase() === 'dpop'
  const claims = await verify(token ?? '')
  // A token with cnf is bound to a key, and is no bearer token (RFC 9449 §7.2).
  if (!claims || isRevoked(claims) || isDpop !== 'cnf' in claims)
    throw new Refusal(401, isDpop ? `DPoP error="invalid_token", ${ALGS}` : 'Bearer error="invalid_token"')
  if (isDpop) await requireProof(request, token, claims.cnf)
  return claims
}

async function requireProof(request, token, cnf) {
  try {
    await verifyProof(request, PUBLIC_URL + request.url.split('?')[0], token, cnf)
  } catch (error) {
    if (!(error instanceof BadProof)) throw error
    console.error(error.message)
    throw new Refusal(401, `DPoP error="invalid_dpop_proof", ${ALGS}`)
  }
}

// Returns the claims of a good access token, and undefined for a bad one.
async function verify(token) {
  try {
    return (await jwtVerify(token, keys, expected)).payload
  } catch (error) {
    if (!isTheTokensFault(error)) throw error
  }
}

function requireScope(token, scope) {
  if (!String(token.scope).split(' ').includes(scope))
    throw new Refusal(403, `${token.cnf ? 'DPoP' : 'Bearer'} error="insufficient_scope", scope="${scope}"`)
}

// A JWKS that could not be fetched is not the token's fault; jose reports it with these two codes.
function isTheTokensFault(error) {
  return error instanceof errors.JOSEError && !['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT'].includes(error.code)
}

async function discover(issuer) {
  const response = await fetch(`${issuer}/.well-known/openid-configuration`, { signal: AbortSignal.timeout(5_000) })
  if (!response.ok) throw new Error(`${issuer} has no metadata: ${response.status}`)
  const metadata = await response.json()
  if (metadata.issuer !== issuer) throw new Error(`The metadata of ${issuer} is of ${metadata.issuer}`)
  return metadata
}

function send(response, status, headers = {}, body = undefined) {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
}

class Refusal extends Error {
  constructor(status, challenge) {
    super()
    this.status = status
    this.challenge = challenge
  }
}
