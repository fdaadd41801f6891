// The MCP TypeScript SDK: an MCP server that demands tokens, and an MCP client that gets one. Prints the token.

import { readFile } from 'node:fs/promises'
import express from 'express'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { ClientCredentialsProvider, PrivateKeyJwtProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js'
import { discoverAuthorizationServerMetadata } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js'
import {
  getOAuthProtectedResourceMetadataUrl,
  mcpAuthMetadataRouter,
} from '@modelcontextprotocol/sdk/server/auth/router.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, CLIENT_KEY, SCOPE, RESOURCE } = process.env
const resource = new URL(RESOURCE)

const metadata = await discoverAuthorizationServerMetadata(ISSUER)
const http = await serve()
const provider = await makeProvider()
const client = new Client({ name: 'client', version: '1.0.0' })
await client.connect(new StreamableHTTPClientTransport(resource, { authProvider: provider }))
const { tools } = await client.listTools()
if (tools[0].name !== 'list-invoices') throw new Error('The tool is missing.')
console.log(provider.tokens().access_token)
await client.close()
http.close()

async function makeProvider() {
  const options = { clientId: CLIENT_ID, expectedIssuer: ISSUER, scope: SCOPE }
  if (!CLIENT_KEY) return new ClientCredentialsProvider({ ...options, clientSecret: CLIENT_SECRET })
  const privateKey = JSON.parse(await readFile(CLIENT_KEY, 'utf8'))
  return new PrivateKeyJwtProvider({ ...options, privateKey, algorithm: privateKey.alg }) // aud is the issuer
}

function serve() {
  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
  const verifyAccessToken = async (token) => {
    const options = { issuer: ISSUER, audience: RESOURCE, typ: 'at+jwt' }
    const { payload } = await jwtVerify(token, keys, options)
    return { token, clientId: payload.client_id, scopes: payload.scope.split(' '), expiresAt: payload.exp, resource }
  }

  const app = express()
  app.use(mcpAuthMetadataRouter({ oauthMetadata: metadata, resourceServerUrl: resource }))
  app.use(
    requireBearerAuth({
      verifier: { verifyAccessToken },
      requiredScopes: SCOPE.split(' '),
      resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(resource),
      expectedResource: resource,
    }),
  )
  app.all(resource.pathname, express.json(), async (request, response) => {
    const server = new McpServer({ name: 'server', version: '1.0.0' })
    server.registerTool('list-invoices', {}, () => ({ content: [] }))
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined }) // no session
    await server.connect(transport)
    await transport.handleRequest(request, response, request.body)
  })
  return new Promise((resolve) => {
    const listening = app.listen(Number(resource.port), resource.hostname, () => resolve(listening))
  })
}
