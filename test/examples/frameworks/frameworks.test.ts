import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Socket from "@effect/platform/Socket"
import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import { spawn } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { WebSocketLike } from "session-init-image/browser/promise"
import { TestImages } from "session-init-image/testing"
import { progressType } from "../../../src/internal/protocol.js"
import * as Server from "../../integration/server/testServer.js"
import { run } from "../../utils/command.js"
import { frameworks, fromWeb } from "../../utils/frameworks.js"
import { findTool, leaveOut } from "../../utils/peers.js"
import { serve, type WebHandler } from "../../utils/webServer.js"
import { connectRaw, eventually } from "../../utils/webSocketClient.js"
import type { State } from "./react.js"

const mebibyte = 1024 * 1024
const maxBytes = 8 * mebibyte
const picture = TestImages.jpeg({ width: 64, height: 48, orientation: 6 })
const tooLarge = TestImages.png({ bytes: 20 * mebibyte })

/** The handlers that the runtimes of Bun and Deno would be given. */
const given: { bun?: WebHandler; deno?: WebHandler } = {}

beforeAll(() => {
  vi.stubGlobal("Bun", {
    serve: ({ fetch }: { readonly fetch: WebHandler }) => {
      given.bun = fetch
    }
  })
  vi.stubGlobal("Deno", {
    ...Reflect.get(globalThis, "Deno"),
    serve: (_: unknown, handler: WebHandler) => {
      given.deno = handler
    }
  })
})

afterAll(() => {
  vi.unstubAllGlobals()
})

const hasTools = ["express", "fastify", "hono", "react", "react-reconciler"].every((name) =>
  findTool(name) !== undefined
)
if (!hasTools) leaveOut("Hono, Express, Fastify or React (`npm run tools`)", "the examples for these run and compile")

/** Starts each example's server. */
const servers: typeof frameworks = {
  ...frameworks,
  bun: async () => {
    await import("./bun.js")
    return fromWeb(given.bun ?? assert.fail())
  },
  deno: async () => {
    await import("./deno.js")
    return fromWeb(given.deno ?? assert.fail())
  }
}

const post = (port: number, body: NonNullable<RequestInit["body"]>, headers: Record<string, string> = {}) =>
  Effect.promise(async () => {
    const response = await fetch(`http://127.0.0.1:${port}/init-image`, { method: "POST", body, headers })
    const answer: unknown = await response.json()
    return { status: response.status, answer }
  })

/** Sends the whole request before it reads, as many clients do, and answers all that the server sent up to the error. */
const sendBlindly = Effect.fnUntraced(function*(port: number, isChunked: boolean) {
  const { received, socket, until } = yield* connectRaw(port)
  socket.pause()
  const write = (data: string | Uint8Array) =>
    Effect.async<void, Error>((resume) => {
      socket.write(data, (error) => resume(error ? Effect.fail(error) : Effect.void))
    })
  const framing = isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${tooLarge.bytes.length}`
  yield* write(`POST /init-image HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n${framing}\r\n\r\n`)
  for (let at = 0; at < tooLarge.bytes.length; at += mebibyte) {
    const piece = tooLarge.bytes.subarray(at, at + mebibyte)
    if (isChunked) yield* write(`${piece.length.toString(16)}\r\n`)
    yield* write(piece)
    if (isChunked) yield* write("\r\n")
  }
  if (isChunked) yield* write("0\r\n\r\n")
  socket.resume()
  yield* until(`"limit":${maxBytes}`)
  return received().toString()
})

it.scopedLive.skipIf(!hasTools)("the command of the README serves an example", () =>
  Effect.gen(function*() {
    const [, command = assert.fail(), path] = /`npm ci && (npm run example -- \w+)`[^`]*`curl localhost:3000(\/[\w-]+) /
      .exec(readFileSync(join(import.meta.dirname, "../../../README.md"), "utf8")) ?? []
    const [program = "", ...args] = command.split(" ")
    const server = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(program, args, {
          cwd: join(import.meta.dirname, "../../.."),
          detached: true,
          env: { ...process.env, PORT: "0" },
          stdio: ["ignore", "pipe", "inherit"]
        })
      ),
      // The group: npm starts a shell, and that the server.
      ({ pid }) => Effect.sync(() => pid !== undefined && process.kill(-pid))
    )
    const url = yield* Effect.async<string>((resume) => {
      let output = ""
      server.stdout.on("data", (chunk) => {
        output += String(chunk)
        const [, url] = /^Listening on (http:\S+)$/m.exec(output) ?? []
        if (url !== undefined) resume(Effect.succeed(url))
      })
      server.on("exit", () => resume(Effect.die(`the server has ended: ${output}`)))
    })
    assert.strictEqual(new URL(url).pathname, path)
    const form = new FormData()
    form.set("image", new File([picture.bytes], picture.name, { type: picture.mime }))
    const { answer, status } = yield* post(Number(new URL(url).port), form)
    assert.strictEqual(status, 200)
    assert.deepInclude(answer, { mime: picture.mime, bytes: picture.bytes.length })
  }))

const needTools = new Set(["hono", "express", "fastify"])

describe.each(Object.keys(servers).filter((name) => hasTools || !needTools.has(name)))("%s", (name) => {
  const start = Effect.flatMap(Effect.promise(async () => servers[name]?.() ?? assert.fail()), serve)

  it.scopedLive("takes a picture as a body, in JSON and in a form", () =>
    Effect.gen(function*() {
      const port = yield* start
      const form = new FormData()
      form.set("image", new File([picture.bytes], picture.name, { type: picture.mime }))
      const answers = [
        yield* post(port, picture.bytes, { "content-type": picture.mime }),
        yield* post(port, JSON.stringify(picture.payload), { "content-type": "application/json" }),
        yield* post(port, form)
      ]
      for (const { answer, status } of answers) {
        assert.strictEqual(status, 200, JSON.stringify(answer))
        assert.deepInclude(answer, { mime: picture.mime, bytes: picture.bytes.length, upright_width: 48 })
      }
    }))

  it.scopedLive("refuses a picture that is too large with a 413 that a client reads after it has sent it", () =>
    Effect.gen(function*() {
      const port = yield* start
      for (const isChunked of [false, true]) {
        const answer = yield* sendBlindly(port, isChunked)
        assert.match(answer, /^HTTP\/1\.1 413 /)
        assert.include(answer, "\"_tag\":\"TooLarge\"")
      }
    }))

  it.scopedLive("refuses a picture that is cut", () =>
    Effect.gen(function*() {
      const port = yield* start
      const { bytes, error, mime } = TestImages.refused.truncated
      const { answer, status } = yield* post(port, bytes, { "content-type": mime })
      assert.strictEqual(status, 422)
      assert.deepInclude(answer, { _tag: error._tag, message: error.message })
    }))
})

describe("a service in a runtime", () => {
  it.live("takes a payload in hand, and rejects with a typed error", () =>
    Effect.promise(async () => {
      const { fromPayload } = await import("./service.js")
      const taken = await fromPayload(picture.payload)
      assert(Either.isRight(taken))
      assert.deepInclude(taken.right, { mime: picture.mime, size: picture.bytes.length })
      assert.deepStrictEqual(await fromPayload(null), Either.right(null))
      const refused = await fromPayload(tooLarge.payload)
      assert(Either.isLeft(refused) && refused.left._tag === "TooLarge")
    }))
})

/** Renders the hook; each call of `connect` is a session with a server of the test's own. */
const useSessions = Effect.fnUntraced(function*(isStrict: boolean) {
  const [{ useInitImage }, { mountHook }] = yield* Effect.promise(() =>
    Promise.all([import("./react.js"), import("../../utils/mountHook.js")])
  )
  const server = yield* Server.serve()
  const makeWebSocket = yield* Socket.WebSocketConstructor
  const sockets: Array<WebSocketLike> = []
  /** While they are held back, the bytes of a picture do not reach the server. */
  const bytes = { areHeldBack: false }
  /** While they are held back, no answer but progress reaches the hook, nor the close of a socket, nor what follows. */
  const answers = { areHeldBack: false }
  const held: Array<Array<() => void>> = []
  const connect = (): WebSocketLike => {
    const ws = makeWebSocket(server.stream)
    const events: Array<() => void> = []
    const socket: WebSocketLike = {
      get readyState() {
        return ws.readyState
      },
      send: (data) => {
        if (typeof data === "string" || !bytes.areHeldBack) ws.send(data)
      },
      close: (code) => ws.close(code),
      addEventListener: (type: string, listener: (event: never) => void) =>
        ws.addEventListener(type, (event) => {
          const isFree = type === "open" || "data" in event && String(event.data).includes(progressType)
          // A WebSocket calls its listeners with the events of their type.
          const deliver = () => listener(event as never)
          if (events.length > 0 || answers.areHeldBack && !isFree) events.push(deliver)
          else deliver()
        })
    }
    held.push(events)
    sockets.push(socket)
    return socket
  }
  const { current, effects, unmount } = yield* Effect.acquireRelease(
    Effect.sync(() => mountHook(() => useInitImage(connect), { isStrict })),
    ({ unmount }) => Effect.sync(unmount)
  )
  assert.strictEqual(effects(), isStrict ? 2 : 1)
  const start = (bytes: Uint8Array<ArrayBuffer>) => current().choose(new File([bytes], "a.png", { type: "image/png" }))
  return {
    server,
    sockets,
    bytes,
    answers,
    state: () => current().state,
    cancel: () => current().cancel(),
    unmount,
    start,
    choose: (bytes: Uint8Array<ArrayBuffer>) => Effect.promise(() => start(bytes)),
    /** Waits until the server asks for the bytes of the picture. */
    announced: eventually(() => {
      const { state } = current()
      assert(state.status === "sending" && state.progress !== undefined)
    }),
    /** Waits until an answer, or the close of a socket, has been held back. */
    answered: eventually(() => assert.isNotEmpty(held.flat())),
    release: () => {
      for (const deliver of held.flatMap((events) => events.splice(0))) deliver()
    }
  }
}, Effect.provide(NodeSocket.layerWebSocketConstructor))

const modes = hasTools ? [["React", false], ["React's strict mode", true]] as const : []

describe.each(modes)("the hook in %s", (_, isStrict) => {
  const [first, second] = [TestImages.png({ width: 3 }).bytes, TestImages.png({ width: 4 }).bytes]
  // Longer than the frames that are sent ahead: the server waits for more of it.
  const long = TestImages.png({ bytes: 4 * mebibyte }).bytes
  const { tooLarge: large, truncated } = TestImages.refused

  const opened = (state: State, width: number) => {
    assert(state.status === "open", JSON.stringify(state))
    assert.strictEqual(state.image.width, width)
  }

  it.scopedLive("opens a session with a picture, replaces it, and ends the session with the component", () =>
    Effect.gen(function*() {
      const { choose, server, sockets, start, state, unmount } = yield* useSessions(isStrict)
      assert.deepStrictEqual(state(), { status: "none" })
      const chosen = start(first)
      assert.deepStrictEqual(state(), { status: "sending" })
      yield* Effect.promise(() => chosen)
      opened(state(), 3)
      yield* choose(second)
      opened(state(), 4)
      assert.lengthOf(sockets, 1)
      unmount()
      yield* server.empty
    }))

  it.scopedLive("opens another session at once after a refused opening", () =>
    Effect.gen(function*() {
      for (const [{ bytes, error }, tag] of [[truncated, "ServerError"], [large, "TooLarge"]] as const) {
        const { choose, sockets, state } = yield* useSessions(isStrict)
        yield* choose(bytes)
        const refused = state()
        assert(refused.status === "refused")
        assert.strictEqual(refused.error._tag, tag)
        assert.strictEqual(refused.error.message, error.message)
        // Before the server's close has arrived, too.
        assert.isAbove(sockets[0]?.readyState ?? 0, 1)
        yield* choose(first)
        opened(state(), 3)
      }
    }))

  it.scopedLive("keeps the session and its picture after a refused one", () =>
    Effect.gen(function*() {
      const { cancel, choose, sockets, state } = yield* useSessions(isStrict)
      yield* choose(first)
      for (const { bytes } of [truncated, large]) {
        yield* choose(bytes)
        assert.strictEqual(state().status, "refused")
      }
      cancel()
      opened(state(), 3)
      yield* choose(second)
      opened(state(), 4)
      assert.lengthOf(sockets, 1)
    }))

  it.scopedLive("cancels an opening and a replacement, after which another picture is taken", () =>
    Effect.gen(function*() {
      const { announced, bytes, cancel, choose, sockets, state } = yield* useSessions(isStrict)
      bytes.areHeldBack = true
      const opening = yield* Effect.fork(choose(first))
      yield* announced
      cancel()
      assert.deepStrictEqual(state(), { status: "none" })
      yield* Fiber.join(opening)
      bytes.areHeldBack = false
      yield* choose(first)
      opened(state(), 3)
      bytes.areHeldBack = true
      const replacement = yield* Effect.fork(choose(long))
      yield* announced
      cancel()
      yield* Fiber.join(replacement)
      opened(state(), 3)
      bytes.areHeldBack = false
      yield* choose(second)
      opened(state(), 4)
      assert.lengthOf(sockets, 2)
    }))

  it.scopedLive("sends the last of several pictures that are chosen at once", () =>
    Effect.gen(function*() {
      const { choose, state } = yield* useSessions(isStrict)
      yield* Effect.all([choose(second), choose(second), choose(first)], { concurrency: "unbounded" })
      opened(state(), 3)
      yield* Effect.all([choose(first), choose(second)], { concurrency: "unbounded" })
      opened(state(), 4)
    }))

  it.scopedLive("shows a cancelled replacement that the server has accepted", () =>
    Effect.gen(function*() {
      const { answered, answers, cancel, choose, release, sockets, state } = yield* useSessions(isStrict)
      yield* choose(first)
      answers.areHeldBack = true
      const replacement = yield* Effect.fork(choose(second))
      yield* answered
      cancel()
      yield* Fiber.join(replacement)
      opened(state(), 3)
      answers.areHeldBack = false
      release()
      opened(state(), 4)
      yield* choose(first)
      opened(state(), 3)
      assert.lengthOf(sockets, 1)
    }))

  it.scopedLive("keeps a replacement that the server has accepted while the next one is sent or refused", () =>
    Effect.gen(function*() {
      for (const next of [long, large.bytes]) {
        const { answered, answers, bytes, cancel, choose, release, state } = yield* useSessions(isStrict)
        yield* choose(first)
        answers.areHeldBack = true
        const replacement = yield* Effect.fork(choose(second))
        yield* answered
        answers.areHeldBack = false
        bytes.areHeldBack = true
        const chosen = yield* Effect.fork(choose(next))
        yield* Fiber.join(replacement)
        if (next !== long) yield* Fiber.join(chosen)
        const { status } = state()
        assert.strictEqual(status, next === long ? "sending" : "refused")
        release()
        assert.strictEqual(state().status, status)
        cancel()
        opened(state(), 4)
      }
    }))

  it.scopedLive("shows the end of the session, and not that of an earlier one", () =>
    Effect.gen(function*() {
      const { announced, answered, answers, bytes, cancel, choose, release, sockets, state } = yield* useSessions(
        isStrict
      )
      bytes.areHeldBack = true
      answers.areHeldBack = true
      const opening = yield* Effect.fork(choose(first))
      yield* announced
      cancel()
      yield* Fiber.join(opening)
      yield* answered
      bytes.areHeldBack = false
      answers.areHeldBack = false
      yield* choose(second)
      release()
      opened(state(), 4)
      sockets[1]?.close()
      yield* eventually(() => assert.deepStrictEqual(state(), { status: "none" }))
    }))
})

const hasTypes = hasTools && findTool("@effect-aws/client-s3") !== undefined

const examples = join(import.meta.dirname, "..")

const tsc = async (...args: ReadonlyArray<string>) => {
  const { stderr, stdout } = await run(join(examples, "../../node_modules/.bin/tsc"), ["--pretty", "false", ...args])
  return stdout + stderr
}

it.skipIf(!hasTypes)("every example compiles with the types of its framework", async () => {
  assert.strictEqual(await tsc("-p", import.meta.dirname), "")
})

it("every example is compiled by one of two projects, of which the first needs no tools", async () => {
  const filesOf = async (project: string) =>
    (await tsc("--listFilesOnly", "-p", project)).split("\n").filter((file) =>
      file.startsWith(examples) && !file.includes("node_modules")
    )
  const first = await filesOf(examples)
  const all = readdirSync(examples, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .map((file) => join(examples, file))
  assert.sameMembers([...new Set([...first, ...await filesOf(import.meta.dirname)])], all)
  const { devDependencies } = JSON.parse(readFileSync(join(examples, "../package.json"), "utf8"))
  for (const file of first) {
    for (const [, name] of readFileSync(file, "utf8").matchAll(/ from "([^"]+)"/g)) {
      assert.notProperty(devDependencies, name ?? "", file)
    }
  }
})

it("every example has at most 40 lines", () => {
  const directory = import.meta.dirname
  for (const file of readdirSync(directory).filter((file) => /^\w+\.ts$/.test(file))) {
    const lines = readFileSync(join(directory, file), "utf8").trimEnd().split("\n")
    assert.isAtMost(lines.length, 40, file)
  }
})
