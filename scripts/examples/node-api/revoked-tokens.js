// Tokens that are dead before they expire, by a list that the issuer signs: for an API that verifies tokens by itself.

import { setTimeout as sleep } from 'node:timers/promises'
import { jwtVerify } from 'jose'

// Fetches the list about once a minute. While a new one cannot be had the last one serves until it expires, five minutes
// after it was signed. From then on isRevoked throws, since nobody can say which tokens are dead.
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
    const { payload } = await jwtVerify(await response.text(), keys, {
      issuer,
      audience: address, // its own address, since it is for all
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
    // The tokens that a client got up to an instant are all dead, as when it was disabled.
    return list.ids.has(token.jti) || token.iat <= (list.notBefore.get(token.client_id) ?? -1)
  }
}
