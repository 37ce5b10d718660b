/** A proxy in front of an HTTP server that breaks requests as it is told. */
import * as Effect from "effect/Effect"
import { once } from "node:events"
import * as Http from "node:http"
import type { Writable } from "node:stream"

/**
 * - `pass`: passes the request and the response on
 * - `cutRequest`: breaks both connections once some bytes of the request have passed
 * - `loseResponse`: breaks the client's connection in place of the response
 * - `cutResponse`: breaks the client's connection in the middle of the response's body
 * - `slow`: passes each chunk of both bodies on after a pause
 * - `stall`: takes the request and never answers
 * - a number: answers with that status, and does not pass the request on
 */
export type Fault = "pass" | "cutRequest" | "loseResponse" | "cutResponse" | "slow" | "stall" | number

const slowPause = 20

const pause = () => new Promise((resolve) => setTimeout(resolve, slowPause))

/** Waits until a stream takes more, or has been closed. */
const drained = (stream: Writable): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done)
      stream.off("close", done)
      resolve()
    }
    stream.on("drain", done)
    stream.on("close", done)
    if (stream.destroyed) done()
  })

/** Passes a body on, or half of it before the `cut`. */
const pass = async (from: Http.IncomingMessage, to: Writable, isSlow: boolean, cut?: () => unknown): Promise<void> => {
  let passed = 0
  const length = Number(from.headers["content-length"] ?? 0)
  try {
    for await (const chunk of from) {
      if (isSlow) await pause()
      passed += (chunk as Buffer).length
      if (cut !== undefined && passed > length / 2) return void cut()
      if (!to.write(chunk)) await drained(to)
    }
    to.end()
  } catch {
    to.destroy()
  }
}

const forward = async (
  target: URL,
  fault: Fault,
  incoming: Http.IncomingMessage,
  outgoing: Http.ServerResponse
): Promise<void> => {
  if (fault === "stall") {
    incoming.resume()
    return
  }
  if (typeof fault === "number") {
    incoming.resume()
    outgoing.writeHead(fault).end()
    return
  }
  const upstream = Http.request({
    host: target.hostname,
    port: target.port,
    method: incoming.method,
    path: incoming.url,
    headers: incoming.headers
  })
  upstream.on("error", () => outgoing.destroy())
  outgoing.on("close", () => upstream.destroy())
  upstream.on("response", async (response) => {
    response.on("error", () => outgoing.destroy())
    if (fault === "loseResponse") {
      // The server has finished: only its answer is lost.
      outgoing.destroy()
      return
    }
    outgoing.writeHead(response.statusCode ?? 500, response.headers)
    await pass(response, outgoing, fault === "slow", fault === "cutResponse" ? () => outgoing.destroy() : undefined)
  })
  const cut = () => {
    incoming.destroy()
    upstream.destroy()
  }
  await pass(incoming, upstream, fault === "slow", fault === "cutRequest" ? cut : undefined)
}

/** The proxy's URL; its faults are asked for in the order of the requests. */
export const make = (target: string, nextFault: (request: Http.IncomingMessage) => Fault) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = Http.createServer((incoming, outgoing) => {
        incoming.on("error", () => {})
        outgoing.on("error", () => {})
        void forward(new URL(target), nextFault(incoming), incoming, outgoing)
      }).listen(0, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    (server) =>
      Effect.promise(async () => {
        server.closeAllConnections()
        server.close()
        await once(server, "close")
      })
  ).pipe(Effect.map((server) => {
    const address = server.address()
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  }))
