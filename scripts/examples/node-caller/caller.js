// Calls an API a few times with one token:
//   export ISSUER=http://127.0.0.1:8080 CLIENT_ID=… CLIENT_SECRET=…
//   SCOPE=invoices:read API_URL=http://127.0.0.1:3000/invoices npm start

import { setTimeout as sleep } from 'node:timers/promises'
import * as openid from 'openid-client'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, SCOPE, API_URL, CALLS = '3' } = process.env

/** One token for the whole process, renewed before it expires. */
class TokenSource {
  #config
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
      const granted = await openid.clientCredentialsGrant(await this.#discover(), { scope: SCOPE })
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

  async #discover() {
    this.#config ??= await openid.discovery(
      new URL(ISSUER),
      CLIENT_ID,
      undefined,
      openid.ClientSecretBasic(CLIENT_SECRET),
      {
        algorithm: 'oauth2', // RFC 8414
        execute: new URL(ISSUER).hostname === '127.0.0.1' ? [openid.allowInsecureRequests] : [],
        [openid.customFetch]: patientFetch,
      },
    )
    return this.#config
  }
}

/**
 * 80 % of a token's life or, if that is sooner, 60 seconds before its end, but at least half of it. Up to a tenth of the
 * life is taken off, at random, so that replicas do not renew together.
 */
function renewAfter(lifetime) {
  return Math.max(Math.min(0.8 * lifetime, lifetime - 60), 0.5 * lifetime) - 0.1 * lifetime * Math.random()
}

/** A fetch that waits as 429 and 503 ask, at most three times and at most a minute each. */
async function patientFetch(url, options) {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url, { ...options, signal: AbortSignal.timeout(10_000) })
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
async function call(url, options = {}) {
  const token = await tokens.get()
  const response = await callWith(token, url, options)
  if (response.status !== 401) return response

  await response.body?.cancel()
  tokens.drop(token)
  return callWith(await tokens.get(), url, options)
}

function callWith(token, url, options) {
  return patientFetch(url, { ...options, headers: { ...options.headers, Authorization: `Bearer ${token}` } })
}

const show = async () => {
  const response = await call(API_URL)
  console.log(response.status, await response.text())
  if (!response.ok) process.exitCode = 1
}

const times = Array.from({ length: Number(CALLS) })
if (process.argv.includes('--at-once')) await Promise.all(times.map(show))
else for (const _ of times) await show()
