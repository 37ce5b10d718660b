import * as NodeContext from "@effect/platform-node/NodeContext"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { imagesIn } from "../integration/server/testServer.js"
import { list, makeDirectory } from "../utils/directory.js"
import { png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { connect, connectRaw, encodeFrame, eventually, upgradeRequest } from "../utils/webSocketClient.js"

const init = JSON.stringify({ type: "session_init_v2", initial_image: payloadOf("image/png", png()) })

const postHead = (length: number) =>
  [
    "POST /v1/init-image HTTP/1.1",
    "Host: localhost",
    "Content-Type: application/json",
    `Content-Length: ${length}`,
    "",
    ""
  ].join("\r\n")

/** Inside `node_modules`, where the bundle resolves the packages that stay external. */
const cache = fileURLToPath(new URL("../../node_modules/.cache", import.meta.url))
let directory: string

/** Bundles a program into one file, which starts three times as fast as its modules. */
const bundle = (source: string, name: string) =>
  build({
    stdin: { contents: source, resolveDir: fileURLToPath(new URL("../../src/server", import.meta.url)) },
    outfile: join(directory, name),
    bundle: true,
    // `package.json` declares no side effects, but the import of `main.ts` has one.
    ignoreAnnotations: true,
    external: ["esbuild", "sharp", "./cluster.js"],
    platform: "node",
    format: "esm",
    target: "node20",
    // CommonJS packages call `require`.
    banner: { js: `import { createRequire } from "node:module"\nconst require = createRequire(import.meta.url)` },
    logLevel: "error"
  })

/** A server with a finalizer that never ends. */
const withFinalizer = (finalizer: string): string => `
  import * as Effect from "effect/Effect"
  import * as Layer from "effect/Layer"
  import * as Server from "./server.ts"
  import * as shutdown from "./shutdown.ts"
  const hang = Layer.scopedDiscard(Effect.addFinalizer(() => ${finalizer}))
  shutdown.run(Layer.provideMerge(hang, Server.layer), "1 second")
`
const hanging = withFinalizer("Effect.never")
const blocking = withFinalizer("Effect.sync(() => { for (;;); })")
/** A server whose deadline no machine is too slow for. */
const patient = `
  import * as Server from "./server.ts"
  import * as shutdown from "./shutdown.ts"
  shutdown.run(Server.layer, "1 minute")
`

beforeAll(async () => {
  mkdirSync(cache, { recursive: true })
  directory = mkdtempSync(join(cache, "session-init-image-"))
  await Promise.all([
    bundle(`import "./main.ts"`, "main.mjs"),
    bundle(hanging, "hanging.mjs"),
    bundle(blocking, "blocking.mjs"),
    bundle(patient, "patient.mjs")
  ])
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** Starts the server in a child process, which is killed when the scope closes. */
const start = Effect.fnUntraced(function*(env: Record<string, string> = {}, program = "main.mjs") {
  const images = yield* makeDirectory
  let output = ""
  let exit: string | undefined
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [join(directory, program)], {
        env: { PATH: process.env["PATH"], PORT: "0", INIT_IMAGE_DIRECTORY: images, ...env }
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
    directory: images,
    // Deno's `child.kill` reports the signal as the child's end even if the child handles the signal.
    kill: (signal: NodeJS.Signals) => Effect.sync(() => process.kill(child.pid ?? Number.NaN, signal)),
    output: () => output,
    port: eventually(() => assert.match(output, /:\d+\n/)).pipe(
      Effect.map(() => Number(/:(\d+)\n/.exec(output)?.[1]))
    ),
    /** The exit code. */
    exited: eventually(() => assert.isDefined(exit)).pipe(Effect.map(() => exit))
  }
}, Effect.provide(NodeContext.layer))

describe("shutting down", () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it.scopedLive(`on ${signal} closes every connection, removes every file and exits with 0`, () =>
      Effect.gen(function*() {
        const server = yield* start()
        const port = yield* server.port
        const url = `ws://127.0.0.1:${port}/v1/stream`

        const clients = yield* Effect.forEach(Array.from({ length: 3 }), () => connect(url))
        yield* Effect.forEach(clients, (client) => Effect.zipRight(client.send(init), client.next))
        const silent = yield* connect(url)
        // Connections that are idle, inside a body, inside a header, inside a frame, and refused.
        const [idle, body, header, frame, refused] = yield* Effect.all([
          connectRaw(port),
          connectRaw(port),
          connectRaw(port),
          connectRaw(port),
          connectRaw(port)
        ])
        idle.socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield* idle.until("ok")
        body.socket.write(`${postHead(100)}{`)
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

  it.scopedLive("leaves no file of an image that is being written", () =>
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
        socket.write(postHead(body.length) + body)
        yield* Effect.sleep(delay)
        yield* server.kill("SIGTERM")
        yield* ended
        assert.strictEqual(yield* server.exited, "0")
        assert.deepStrictEqual(list(server.directory), [])
      }
    }))
})

describe("a shutdown that is disturbed", () => {
  it.scopedLive("by a second signal still removes every file", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const port = yield* server.port
      const { socket, until } = yield* connectRaw(port)
      socket.write(upgradeRequest())
      yield* until("101")
      socket.write(encodeFrame(init))
      yield* until("session_init_image")
      // Never answers the closing handshake.
      yield* server.kill("SIGTERM")
      yield* Effect.sleep("200 millis")
      yield* server.kill("SIGTERM")
      yield* server.kill("SIGINT")
      assert.strictEqual(yield* server.exited, "0")
      assert.deepStrictEqual(list(server.directory), [])
    }))

  for (
    const [title, program, end] of [
      ["a finalizer that hangs", "hanging.mjs", "1"],
      ["a blocked event loop", "blocking.mjs", "SIGKILL"]
    ] as const
  ) {
    it.scopedLive(`by ${title} ends at the deadline, and removes every file`, () =>
      Effect.gen(function*() {
        const server = yield* start({}, program)
        const client = yield* connect(`ws://127.0.0.1:${yield* server.port}/v1/stream`)
        yield* Effect.zipRight(client.send(init), client.next)
        assert.lengthOf(imagesIn(server.directory), 1)
        yield* server.kill("SIGTERM")
        assert.strictEqual(yield* server.exited, end)
        assert.deepStrictEqual(list(server.directory), [])
      }))
  }

  it.scopedLive("by 2,000 open sockets ends by itself, without a deadline", () =>
    Effect.gen(function*() {
      const server = yield* start({}, "patient.mjs")
      const port = yield* server.port
      const clients = yield* Effect.forEach(Array.from({ length: 2000 }), () => connectRaw(port), { concurrency: 100 })
      for (const [i, { socket }] of clients.entries()) {
        if (i % 4 === 0) socket.write(upgradeRequest())
        if (i % 4 === 1) socket.write(`${postHead(100)}{`)
        if (i % 4 === 2) socket.write("GET /healthz HTTP/1.1\r\n")
      }
      for (const [i, client] of clients.entries()) if (i % 4 === 0) yield* client.until("101")
      yield* server.kill("SIGTERM")
      assert.strictEqual(yield* server.exited, "0")
      assert.deepStrictEqual(list(server.directory), [])
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
    "an invalid port": { PORT: "65536" },
    "a limit that is not a number": { INIT_IMAGE_MAX_BYTES: "many" },
    "a negative limit": { INIT_IMAGE_MAX_PIXELS: "-1" },
    "no connection at all": { INIT_IMAGE_MAX_CONNECTIONS: "0" },
    "a negative quota": { INIT_IMAGE_MAX_BYTES_KEPT: "-1" },
    "an unknown policy for a full spool": { INIT_IMAGE_ON_FULL: "queue" },
    "a directory that cannot be created": { INIT_IMAGE_DIRECTORY: "/dev/null/images" }
  }
  for (const [title, env] of Object.entries(wrong)) {
    it.scopedLive(`fails with ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* start(env)
        assert.strictEqual(yield* server.exited, "1")
      }))
  }

  it.scopedLive("creates its directory with mode 0700", () =>
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
