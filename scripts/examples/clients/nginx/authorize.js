// For nginx's auth_request: 204 for a token that TokenService says is active and that has the scope; 401 and 403 as RFC
// 6750 §3 says; 503, which auth_request makes a 500, when TokenService gives no answer.

const SCOPE = 'invoices:read'

async function authorize(r) {
  const bearer = /^Bearer +([\w.~+/-]+=*)$/i.exec(r.headersIn.Authorization || '')
  if (!bearer) return refuse(r, 401, 'Bearer')

  const answer = await introspect(bearer[1])
  if (answer.status !== 200) return r.return(503)

  const token = await answer.json()
  // A token with cnf is bound to a key (RFC 9449), and nginx checks no proofs.
  if (!token.active || token.cnf) return refuse(r, 401, 'Bearer error="invalid_token"')
  if (!(token.scope || '').split(' ').includes(SCOPE))
    return refuse(r, 403, `Bearer error="insufficient_scope", scope="${SCOPE}"`)

  r.headersOut['X-Client-Id'] = token.client_id
  r.return(204)
}

function introspect(token) {
  // Ids and secrets of TokenService need no form-encoding here (RFC 6749 §2.3.1).
  const credentials = Buffer.from(`${process.env.CLIENT_ID}:${process.env.CLIENT_SECRET}`).toString('base64')
  return ngx.fetch(`${process.env.ISSUER}/introspect`, {
    method: 'POST',
    headers: { Authorization: `Basic ${credentials}`, 'Content-Type': 'application/x-www-form-urlencoded' },
    body: `token=${encodeURIComponent(token)}`,
  })
}

function refuse(r, status, challenge) {
  r.headersOut['WWW-Authenticate'] = challenge
  r.return(status)
}

export default { authorize }
