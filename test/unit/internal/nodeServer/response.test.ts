import { assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import * as Http from "node:http"
import * as Net from "node:net"
import { Response, watchUpgrade } from "../../../../src/internal/nodeServer/response.js"

type Answer = (response: Http.ServerResponse, ended: () => void) => unknown

const disconnect = (response: Http.ServerResponse) => response.socket?.destroy()

/** The number of calls of the end callback until the connection closed, and the received body. */
const answered = async (answer: Answer) => {
  let times = 0
  const server = Http.createServer(
    { ServerResponse: Response },
    (_, response) => void answer(response, () => times += 1)
  )
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("not a TCP address")
  const socket = Net.connect(address.port, address.address)
  let received = ""
  socket.on("data", (data) => received += String(data))
  socket.on("error", () => {})
  socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
  await once(socket, "close")
  server.close()
  await once(server, "close")
  return { times, body: received.split("\r\n\r\n")[1] }
}

describe("a response", () => {
  const answers: ReadonlyArray<readonly [title: string, answer: Answer, body: string | undefined]> = [
    ["with a body", (response, ended) => response.end("body", ended), "body"],
    ["with a body in an encoding", (response, ended) => response.end("626f6479", "hex", ended), "body"],
    ["without a body", (response, ended) => response.end(ended), ""],
    [
      "whose client has disconnected",
      (response, ended) => {
        disconnect(response)
        response.end("body", ended)
      },
      undefined
    ],
    [
      "that ends a turn after its client disconnected",
      (response, ended) => {
        response.once("close", () => setImmediate(() => response.end("body", ended)))
        disconnect(response)
      },
      undefined
    ],
    [
      "whose client disconnects during it",
      (response, ended) => {
        response.end("body".repeat(10_000_000), ended)
        setImmediate(disconnect, response)
      },
      undefined
    ]
  ]
  for (const [title, answer, body] of answers) {
    it(`${title} calls its end callback once`, async () => {
      const { body: received, times } = await answered(answer)
      if (body !== undefined) assert.strictEqual(received, body)
      assert.strictEqual(times, 1)
    })
  }

  it("ends without a callback", async () => {
    assert.deepStrictEqual(await answered((response) => response.end("body")), { times: 0, body: "body" })
  })
})

describe("a response to an upgrade", () => {
  /** Answers an upgrade as the platform does, and waits for the callback of `end`. */
  const ended = async (prepare: (socket: Net.Socket) => Promise<unknown>) => {
    const server = Http.createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    if (address === null || typeof address === "string") throw new Error("not a TCP address")
    const client = Net.connect(address.port, address.address).on("error", () => {})
    client.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    const [request, socket]: Array<unknown> = await once(server, "upgrade")
    if (!(request instanceof Http.IncomingMessage) || !(socket instanceof Net.Socket)) throw new Error("not an upgrade")
    watchUpgrade(socket)
    await prepare(socket)
    const response = new Http.ServerResponse(request)
    response.assignSocket(socket)
    response.writeHead(403, { "content-length": 4 })
    let received = ""
    client.on("data", (data) => received += String(data))
    await new Promise<void>((resolve) => response.end("body", resolve))
    if (!socket.destroyed) socket.end()
    if (!client.destroyed) await once(client, "close")
    server.close()
    return received
  }

  it("is sent, and calls back", async () => {
    assert.match(await ended(() => Promise.resolve()), /^HTTP\/1\.1 403 [^]*body$/)
  })

  it("calls back if its client has disconnected", async () => {
    const received = await ended((socket) => {
      socket.on("error", () => {}).destroy()
      return once(socket, "close")
    })
    assert.strictEqual(received, "")
  })
})
