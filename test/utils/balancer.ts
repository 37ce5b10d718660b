/** A load balancer that gives each request to the next of its servers. */
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { serve } from "./webServer.js"

/**
 * Balances until the scope closes, and answers the URL. A request goes to the next server that accepts a connection; the
 * end of its server is answered with 502. `servers` is read for each request.
 */
export const make = (servers: () => ReadonlyArray<string>) =>
  Effect.gen(function*() {
    let turn = 0

    /** Connects to the next server that listens. */
    const connect = (tries: number): Promise<Net.Socket> =>
      new Promise((resolve, reject) => {
        const urls = servers()
        const { hostname, port } = new URL(urls[turn++ % urls.length] ?? "")
        const socket = Net.connect(Number(port), hostname)
        socket.once("connect", () => resolve(socket))
        socket.once("error", (error) => tries > 1 ? resolve(connect(tries - 1)) : reject(error))
      })

    const balancer = Http.createServer((incoming, outgoing) => {
      const fail = () => outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end()
      connect(servers().length).then((socket) => {
        const { headers, method, url: path } = incoming
        const request = Http.request({ createConnection: () => socket, headers, method, path })
        request.on("response", (response) => {
          outgoing.writeHead(response.statusCode ?? 502, response.headers)
          response.on("error", fail).pipe(outgoing)
        })
        request.on("error", fail)
        incoming.on("error", () => request.destroy()).pipe(request)
      }, fail)
    })

    balancer.on("upgrade", (incoming: Http.IncomingMessage, client: Duplex, head: Buffer) => {
      connect(servers().length).then((server) => {
        const headers = incoming.rawHeaders.flatMap((name, i, all) => i % 2 === 0 ? [`${name}: ${all[i + 1]}`] : [])
        server.write(`${incoming.method} ${incoming.url} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`)
        server.write(head)
        for (const [from, to] of [[client, server], [server, client]] as const) {
          from.on("error", () => {}).on("close", () => to.destroy()).pipe(to)
        }
      }, () => client.destroy())
    })

    return `http://127.0.0.1:${yield* serve(balancer)}`
  })
