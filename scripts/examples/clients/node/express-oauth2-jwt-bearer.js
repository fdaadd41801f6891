// express-oauth2-jwt-bearer: an API. It answers 200 at /invoices to tokens for AUDIENCE with the scope invoices:read.

import express from 'express'
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer'

const { ISSUER, AUDIENCE, PORT } = process.env

const app = express()
app.use(auth({ issuerBaseURL: ISSUER, audience: AUDIENCE, strict: true })) // strict: typ must be at+jwt
app.get('/invoices', requiredScopes('invoices:read'), (request, response) => response.json({ invoices: [] }))
app.listen(Number(PORT), '127.0.0.1')
