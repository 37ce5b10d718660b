/** A server on `node:http` for handlers of web requests, as frameworks have them. */
import * as Effect from "effect/Effect"
import type * as Http from "node:http"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"

export type WebHandler = (request: Request) => Promise<Response>

/** A listener that streams both bodies, and breaks the connection where the request's stream is cancelled. */
export const listenerOf = (handler: WebHandler): Http.RequestListener => (incoming, outgoing) => {
  const respond = async () => {
    const headers = Object.entries(incoming.headers).map(([name, value]) => [name, String(value)] as [string, string])
    const hasBody = incoming.method !== "GET" && incoming.method !== "HEAD"
    const init = { method: incoming.method ?? "GET", headers, duplex: "half" as const }
    const response = await handler(
      new Request(`http://localhost${incoming.url}`, hasBody ? { ...init, body: Readable.toWeb(incoming) } : init)
    )
    outgoing.writeHead(response.status, Object.fromEntries(response.headers))
    if (response.body === null) return void outgoing.end()
    await pipeline(Readable.fromWeb(response.body), outgoing)
  }
  respond().catch(() => outgoing.destroy())
}

/** Listens on a free port until the scope closes, and answers the port. */
export const serve = (server: Http.Server) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(
          typeof address === "object" && address !== null ? Effect.succeed(address.port) : Effect.dieMessage("no port")
        )
      })
    }),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )
