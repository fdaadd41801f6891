// Revoked tokens, by a list that the issuer signs, for an API that verifies tokens offline.

import { setTimeout as sleep } from 'node:timers/promises'
import { jwtVerify } from 'jose'

// The issuer's list never has more than 165,000 characters.
const MAX_CHARACTERS = 250 * 1024

// Fetches the list about once a minute. When no new list can be fetched, the last one is used until it expires, five
// minutes after it was signed. After that isRevoked throws, because the API cannot know which tokens were revoked.
export async function followRevokedTokens(address, keys, issuer, seconds) {
  let list = await fetchList()
  fetchAgainAndAgain()

  async function fetchAgainAndAgain() {
    for (;;) {
      await sleep(seconds * 1000)
      try {
        list = await fetchList()
      } catch (error) {
        console.error('There is no new list of revoked tokens.', error)
      }
    }
  }

  async function fetchList() {
    const response = await fetch(address, { signal: AbortSignal.timeout(5_000) })
    if (!response.ok) throw new Error(`${address} answers ${response.status}`)
    const jwt = await response.text()
    if (jwt.length > MAX_CHARACTERS) throw new Error(`${address} answers ${jwt.length} characters`)
    const { payload } = await jwtVerify(jwt, keys, {
      issuer,
      audience: address, // the list's own address, since it is for every API
      typ: 'revoked-tokens+jwt', // no other JWT of this issuer
      algorithms: ['ES256', 'ES384', 'RS256', 'PS256'],
      requiredClaims: ['exp', 'revoked', 'not_before'],
    })
    return {
      expiresAt: payload.exp * 1000,
      ids: new Set(payload.revoked),
      notBefore: new Map(Object.entries(payload.not_before)),
    }
  }

  return function isRevoked(token) {
    if (Date.now() >= list.expiresAt) throw new Error('The list of revoked tokens has expired.')
    // not_before: all tokens that a client got up to this time are revoked, for example because it was disabled. '*'
    // stands for every client.
    return list.ids.has(token.jti)
      || [token.client_id, '*'].some((client) => token.iat <= (list.notBefore.get(client) ?? -1))
  }
}
