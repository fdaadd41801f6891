// Calls an API a few times with one token:
//   export ISSUER=http://127.0.0.1:8080 CLIENT_ID=… CLIENT_SECRET=…
//   SCOPE=invoices:read API_URL=http://127.0.0.1:3000/invoices npm start
// CLIENT_KEY, the path of the client's private key, in place of CLIENT_SECRET: the client signs assertions (RFC 7523). The
// file is what "TokenService client-key new" writes: a JWK, or a PEM file, of which CLIENT_KEY_ALG says for what it is if
// that is not ES256. With DPOP=on the token is bound to a key that this process makes (RFC 9449).

import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { importJWK, importPKCS8 } from 'jose'
import * as oauth from 'oauth4webapi'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, CLIENT_KEY, CLIENT_KEY_ALG = 'ES256', DPOP } = process.env
const { SCOPE, API_URL, CALLS = '3' } = process.env

const client = { client_id: CLIENT_ID }
const authentication = CLIENT_KEY ? oauth.PrivateKeyJwt(await readKey(CLIENT_KEY)) : oauth.ClientSecretBasic(CLIENT_SECRET)
// The key of all tokens of this process. It also keeps the nonces of the server and of the API.
const dpop = DPOP === 'on' ? oauth.DPoP(client, await oauth.generateKeyPair('ES256')) : undefined

/** One token for the whole process, renewed before it expires. */
class TokenSource {
  #server
  #token
  #pending

  /** Callers that find a token request in flight wait for that request. */
  async get() {
    if (this.#token && Date.now() < this.#token.renewAt) return this.#token.value
    this.#pending ??= this.#renew().finally(() => (this.#pending = undefined))
    return this.#pending
  }

  /** Forgets a token that an API refused, unless it was renewed already. */
  drop(value) {
    if (this.#token?.value === value) this.#token = undefined
  }

  async #renew() {
    try {
      const granted = await withNonce(() => this.#request())
      const now = Date.now()
      this.#token = {
        value: granted.access_token,
        renewAt: now + 1000 * renewAfter(granted.expires_in),
        endsAt: now + 1000 * granted.expires_in,
      }
      console.log(`A token for ${granted.expires_in} seconds.`)
    } catch (error) {
      // The renewal is early, so there is time to try again later.
      if (!this.#token || Date.now() > this.#token.endsAt - 10_000) throw error
      this.#token.renewAt = Date.now() + 10_000
    }
    return this.#token.value
  }

  async #request() {
    const server = (this.#server ??= await discover())
    const response = await patiently(() =>
      oauth.clientCredentialsGrantRequest(server, client, authentication, { scope: SCOPE }, optionsFor(ISSUER)),
    )
    const granted = await oauth.processClientCredentialsResponse(server, client, response)
    if (dpop && granted.token_type !== 'dpop') throw new Error('The token is not bound.')
    return granted
  }
}

/** RFC 8414. */
async function discover() {
  const issuer = new URL(ISSUER)
  const options = { ...optionsFor(ISSUER), algorithm: 'oauth2' }
  return oauth.processDiscoveryResponse(issuer, await patiently(() => oauth.discoveryRequest(issuer, options)))
}

async function readKey(path) {
  const text = await readFile(path, 'utf8')
  if (!text.startsWith('{')) return importPKCS8(text, CLIENT_KEY_ALG) // without kid: the server tries all keys of the client
  const jwk = JSON.parse(text)
  return { key: await importJWK(jwk), kid: jwk.kid }
}

function optionsFor(address) {
  return {
    DPoP: dpop,
    signal: () => AbortSignal.timeout(10_000),
    [oauth.allowInsecureRequests]: new URL(address).hostname === '127.0.0.1',
  }
}

/** RFC 9449 §8 and §9: a server that wants a nonce says so once, and dpop has kept the nonce of its answer. */
async function withNonce(send) {
  try {
    return await send()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return send()
  }
}

/**
 * 80 % of a token's life or, if that is sooner, 60 seconds before its end, but at least half of it. Up to a tenth of the
 * life is taken off, at random, so that replicas do not renew together.
 */
function renewAfter(lifetime) {
  return Math.max(Math.min(0.8 * lifetime, lifetime - 60), 0.5 * lifetime) - 0.1 * lifetime * Math.random()
}

/**
 * Waits as 429 and 503 ask, at most three times and at most a minute each. Each attempt makes a new request, because an
 * assertion and a proof work once.
 */
async function patiently(send) {
  for (let attempt = 1; ; attempt++) {
    const response = await send()
    if (![429, 503].includes(response.status) || attempt > 3) return response

    const seconds = retryAfter(response) ?? 2 ** (attempt - 1)
    if (seconds > 60) return response
    console.log(`${response.status}: again in ${seconds} seconds.`)
    await response.body?.cancel()
    // Up to a quarter longer, because other replicas were told to wait as long.
    await sleep(seconds * 1000 * (1 + 0.25 * Math.random()))
  }
}

/** RFC 9110 §10.2.3: seconds, or a date. */
function retryAfter(response) {
  const value = response.headers.get('Retry-After')
  if (value === null) return undefined
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds)
}

const tokens = new TokenSource()

/** On 401 the token was revoked, or its key withdrawn: tries once with a new token. */
async function call(method, url) {
  const token = await tokens.get()
  const response = await callWith(token, method, url)
  if (response.status !== 401) return response

  await response.body?.cancel()
  tokens.drop(token)
  return callWith(await tokens.get(), method, url)
}

async function callWith(token, method, url) {
  const send = () => oauth.protectedResourceRequest(token, method, new URL(url), undefined, undefined, optionsFor(url))
  try {
    return await withNonce(() => patiently(send))
  } catch (error) {
    if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error
    return error.response // 401 or 403
  }
}

const show = async () => {
  const response = await call('GET', API_URL)
  console.log(response.status, await response.text())
  if (!response.ok) process.exitCode = 1
}

const times = Array.from({ length: Number(CALLS) })
if (process.argv.includes('--at-once')) await Promise.all(times.map(show))
else for (const _ of times) await show()
