// DPoP proofs (RFC 9449): a caller shows, for one request, that it has the private half of the key that its token is
// bound to.

import { createHash } from 'node:crypto'
import { EmbeddedJWK, calculateJwkThumbprint, errors, jwtVerify } from 'jose'

export const PROOF_ALGORITHMS = ['ES256', 'ES384', 'PS256']

const MAX_AGE = 60 // seconds after its iat
const CLOCK_TOLERANCE = 30 // seconds

/** What is wrong with a proof, for the API's log. */
export class BadProof extends Error {}

// The proofs of the last two to four minutes, which is longer than one is accepted. Each process remembers its own, so a
// proof works once in each. Where that is too often, keep them in a store that all processes share.
let [younger, older] = [new Set(), new Set()]
setInterval(() => ([younger, older] = [new Set(), younger]), 1000 * (MAX_AGE + 2 * CLOCK_TOLERANCE)).unref()

/** RFC 9449 §4.3. The address is the API's own, without a query. The token was verified, and has this cnf. */
export async function verifyProof(request, address, token, cnf) {
  const proofs = request.headersDistinct.dpop ?? []
  if (proofs.length !== 1) throw new BadProof('There must be one proof.')

  const { payload, protectedHeader } = await read(proofs[0])
  const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk)
  if (thumbprint !== cnf.jkt) throw new BadProof('The token is bound to another key.')
  if (payload.ath !== createHash('sha256').update(token).digest('base64url'))
    throw new BadProof('The proof is for another token.')
  if (payload.htm !== request.method || withoutQuery(payload.htu) !== address)
    throw new BadProof(`The proof is for ${payload.htm} ${payload.htu}.`)

  const id = `${thumbprint} ${payload.jti}`
  if (younger.has(id) || older.has(id)) throw new BadProof('The proof was used before.')
  younger.add(id)
}

async function read(proof) {
  try {
    // EmbeddedJWK takes the key from the header, and accepts no private one. Only here may a JWT bring its own key.
    return await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: PROOF_ALGORITHMS,
      requiredClaims: ['jti', 'htm', 'htu', 'ath'],
      maxTokenAge: MAX_AGE, // which also requires iat
      clockTolerance: CLOCK_TOLERANCE,
    })
  } catch (error) {
    throw error instanceof errors.JOSEError ? new BadProof(error.message) : error
  }
}

function withoutQuery(htu) {
  return URL.canParse(htu) ? Object.assign(new URL(htu), { search: '', hash: '' }).href : undefined
}
