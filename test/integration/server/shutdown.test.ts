import * as NodeContext from "@effect/platform-node/NodeContext"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { list, makeDirectory } from "../../utils/directory.js"
import { png, pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { connect, connectRaw, encodeFrame, eventually, upgradeRequest } from "../../utils/webSocketClient.js"
import { imagesIn } from "./testServer.js"

const init = JSON.stringify({ type: "session_init_v2", initial_image: payloadOf("image/png", png()) })

const root = fileURLToPath(new URL("../../../", import.meta.url))
let build: string

/** Built inside of `node_modules`, so that it finds its dependencies. */
beforeAll(() => {
  const cache = join(root, "node_modules", ".cache")
  mkdirSync(cache, { recursive: true })
  build = mkdtempSync(join(cache, "session-init-image-"))
  writeFileSync(join(build, "package.json"), JSON.stringify({ type: "module" }))
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
  execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.json"), "--outDir", build])
}, 120_000)
afterAll(() => rmSync(build, { recursive: true, force: true }))

/** The built server as a process of its own. */
const start = Effect.fnUntraced(function*(env: Record<string, string> = {}) {
  const directory = yield* makeDirectory
  let output = ""
  let exit: string | undefined
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [join(build, "server", "main.js")], {
        env: { PATH: process.env["PATH"], PORT: "0", INIT_IMAGE_DIRECTORY: directory, ...env }
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += String(chunk)
    })
  }
  child.on("exit", (code, signal) => {
    exit = String(code ?? signal)
  })
  return {
    directory,
    // The `child.kill` of Deno has the child end with the signal, whatever the child makes of it.
    kill: (signal: NodeJS.Signals) => Effect.sync(() => process.kill(child.pid ?? Number.NaN, signal)),
    output: () => output,
    port: eventually(() => assert.match(output, /:\d+\n/)).pipe(
      Effect.map(() => Number(/:(\d+)\n/.exec(output)?.[1]))
    ),
    /** Its exit code. */
    exited: eventually(() => assert.isDefined(exit)).pipe(Effect.map(() => exit))
  }
}, Effect.provide(NodeContext.layer))

describe("shutting down", () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it.scopedLive(`on ${signal} closes what is open, removes every file and exits with 0`, () =>
      Effect.gen(function*() {
        const server = yield* start()
        const port = yield* server.port
        const url = `ws://127.0.0.1:${port}/v1/stream`

        const clients = yield* Effect.forEach(Array.from({ length: 3 }), () => connect(url))
        yield* Effect.forEach(clients, (client) => Effect.zipRight(client.send(init), client.next))
        const silent = yield* connect(url)
        // An answered one that is kept alive, one in the middle of its body, one of its header, and one of its frame.
        const [idle, body, header, frame, refused] = yield* Effect.all([
          connectRaw(port),
          connectRaw(port),
          connectRaw(port),
          connectRaw(port),
          connectRaw(port)
        ])
        idle.socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield* idle.until("ok")
        body.socket.write("POST /v1/init-image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        header.socket.write("GET /healthz HTTP/1.1\r\n")
        frame.socket.write(upgradeRequest())
        yield* frame.until("101")
        frame.socket.write(encodeFrame(init))
        yield* frame.until("session_init_image")
        frame.socket.write(encodeFrame(init).subarray(0, 20))
        refused.socket.write(upgradeRequest({ "Sec-WebSocket-Key": "short" }))
        yield* refused.until("426")
        assert.lengthOf(imagesIn(server.directory), 4)

        yield* server.kill(signal)
        for (const client of [...clients, silent]) assert.strictEqual(yield* client.closed, 1001)
        assert.strictEqual(yield* server.exited, "0")
        assert.deepStrictEqual(list(server.directory), [])
        assert.notInclude(server.output(), "ERROR")
      }))
  }

  it.scopedLive("leaves nothing when it comes in the middle of the work", () =>
    Effect.gen(function*() {
      const large = JSON.stringify({
        type: "session_init_v2",
        initial_image: payloadOf("image/png", pngOfSize(8_000_000))
      })
      for (const delay of [0, 10, 30, 60, 100]) {
        const server = yield* start()
        const port = yield* server.port
        const clients = yield* Effect.forEach(
          Array.from({ length: 4 }),
          () => connect(`ws://127.0.0.1:${port}/v1/stream`)
        )
        yield* Effect.forEach(clients, (client) => client.send(large))
        yield* Effect.sleep(delay)
        yield* server.kill("SIGTERM")
        assert.strictEqual(yield* server.exited, "0")
        assert.deepStrictEqual(list(server.directory), [])
      }
    }))

  it.scopedLive("interrupts a request in progress, and removes its file", () =>
    Effect.gen(function*() {
      const body = JSON.stringify(payloadOf("image/png", pngOfSize(8_000_000)))
      for (const delay of [0, 20, 40, 60]) {
        const server = yield* start()
        const { ended, socket } = yield* connectRaw(yield* server.port)
        socket.write(`POST /v1/init-image HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
        yield* Effect.sleep(delay)
        yield* server.kill("SIGTERM")
        yield* ended
        assert.strictEqual(yield* server.exited, "0")
        assert.deepStrictEqual(list(server.directory), [])
      }
    }))
})

describe("starting", () => {
  it.scopedLive("logs one line with the address", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const port = yield* server.port
      assert.match(server.output(), new RegExp(`^.*Listening on http://127\\.0\\.0\\.1:${port}\\n$`))
    }))

  const wrong = {
    "a port that is none": { PORT: "65536" },
    "a limit that is no number": { INIT_IMAGE_MAX_BYTES: "many" },
    "a negative limit": { INIT_IMAGE_MAX_PIXELS: "-1" },
    "a negative limit of what is kept": { INIT_IMAGE_MAX_BYTES_KEPT: "-1" },
    "an unknown answer to being full": { INIT_IMAGE_ON_FULL: "queue" },
    "a directory that cannot be made": { INIT_IMAGE_DIRECTORY: "/dev/null/images" }
  }
  for (const [title, env] of Object.entries(wrong)) {
    it.scopedLive(`fails with ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* start(env)
        assert.strictEqual(yield* server.exited, "1")
      }))
  }

  it.scopedLive("makes its directory, for its owner only", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const server = yield* start({ INIT_IMAGE_DIRECTORY: join(parent, "a", "b") })
      const client = yield* connect(`ws://127.0.0.1:${yield* server.port}/v1/stream`)
      yield* client.send(init)
      yield* client.next
      assert.lengthOf(imagesIn(join(parent, "a", "b")), 1)
      assert.strictEqual(statSync(join(parent, "a", "b")).mode & 0o777, 0o700)
    }).pipe(Effect.provide(NodeContext.layer)))
})
