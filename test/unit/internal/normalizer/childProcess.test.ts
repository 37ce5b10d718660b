import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { SessionInitImage } from "../../../../src/index.js"
import * as InitImageNormalizer from "../../../../src/InitImageNormalizer.js"
import { compile, type Program } from "../../../utils/decoderChild.js"
import { list, makeDirectory } from "../../../utils/directory.js"
import { picture } from "../../../utils/pictures.js"
import { eventually } from "../../../utils/webSocketClient.js"

let program: Program
beforeAll(async () => {
  program = await compile()
}, 120_000)
afterAll(() => program.remove())

/** The running children of this process, from Linux's list. */
const children = (): ReadonlyArray<number> =>
  readdirSync(`/proc/${process.pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${process.pid}/task/${task}/children`, "latin1").trim().split(" ").flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(program.entry.pathname) ? [Number(pid)] : []
      } catch {
        // It has ended meanwhile.
        return []
      }
    })
  )

/** Whether the process runs; a zombie does not. */
const isRunning = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "latin1"))
  } catch {
    return false
  }
}

const untilEnded = (pid: number) => eventually(() => assert.notInclude(children(), pid))

/** Stops the only child: it answers nothing, and no signal but SIGKILL ends it. */
const stop = () => {
  const [pid] = children()
  assert.isDefined(pid)
  process.kill(pid, "SIGSTOP")
  return pid
}

const open = (options?: InitImageNormalizer.Options) =>
  Layer.build(InitImageNormalizer.layerChildProcess({ ...options, entry: program.entry }))

const persist = (directory: string, bytes: Uint8Array, mime = "image/png") =>
  SessionInitImage.persistStream({ mime }, Stream.make(bytes), { directory })

const smallImage = (directory: string) =>
  Effect.flatMap(Effect.promise(() => picture(80, 60).png().toBuffer()), (bytes) => persist(directory, bytes))

describe("a child process", () => {
  it.scopedLive("normalises pictures, and ends with the layer", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const scope = yield* Scope.make()
      const context = yield* Scope.extend(open(), scope)
      const image = yield* smallImage(directory)
      const [pid] = children()
      for (let i = 0; i < 3; i++) {
        const normalized = yield* InitImageNormalizer.normalizeScoped(image, { maxEdge: 40, directory }).pipe(
          Effect.provide(context)
        )
        assert.deepStrictEqual([normalized.width, normalized.height], [40, 30])
      }
      assert.strictEqual(children().join(), String(pid))
      yield* Scope.close(scope, Exit.void)
      assert.isEmpty(children())
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("is killed at the timeout, replaced, and leaves no file", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const context = yield* open({ timeout: "100 millis" })
      const image = yield* smallImage(directory)
      const pid = stop()
      const error = yield* Effect.flip(
        Effect.provide(
          Effect.scoped(InitImageNormalizer.normalizeScoped(image, { directory })),
          context
        )
      )
      assert.strictEqual(error._tag, "DecodeTimeout")
      assert.notInclude(children(), pid)
      assert.lengthOf(list(directory), 1)
      yield* Effect.provide(InitImageNormalizer.check(yield* smallImage(directory)), context)
      assert.lengthOf(children(), 1)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("is killed at an interruption, and leaves no file", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const context = yield* open()
      const image = yield* smallImage(directory)
      const pid = stop()
      const fiber = yield* Effect.fork(
        Effect.provide(
          Effect.scoped(InitImageNormalizer.normalizeScoped(image, { directory })),
          context
        )
      )
      yield* Effect.sleep("150 millis")
      assert.include(children(), pid)
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      assert.notInclude(children(), pid)
      assert.lengthOf(list(directory), 1)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("that dies over a picture refuses it, and is replaced", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const marker = join(directory, "marker")
      const entry = join(directory, "child.mjs")
      writeFileSync(marker, "")
      // The first child that starts gets a job and dies; those after it decode.
      writeFileSync(
        entry,
        `import { existsSync, rmSync } from "node:fs"
        if (existsSync(${JSON.stringify(marker)})) {
          rmSync(${JSON.stringify(marker)})
          process.on("message", () => process.send("started", () => process.kill(process.pid, "SIGKILL")))
          process.send("ready")
        } else await import(${JSON.stringify(program.entry.href)})`
      )
      const context = yield* Layer.build(InitImageNormalizer.layerChildProcess({ entry: pathToFileURL(entry) }))
      const check = Effect.provide(InitImageNormalizer.check(yield* smallImage(directory)), context)
      assert.strictEqual((yield* Effect.flip(check))._tag, "UndecodableImage")
      yield* check
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("that has died before it got the picture is replaced, and the picture decoded", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const context = yield* open()
      const image = yield* smallImage(directory)
      const pid = stop()
      const fiber = yield* Effect.fork(Effect.provide(InitImageNormalizer.check(image), context))
      yield* Effect.sleep("50 millis")
      process.kill(pid, "SIGKILL")
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("that died while idle is replaced", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const context = yield* open()
      const [pid] = children()
      assert.isDefined(pid)
      process.kill(pid, "SIGKILL")
      yield* untilEnded(pid)
      yield* Effect.provide(InitImageNormalizer.check(yield* smallImage(directory)), context)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("interrupted at the end of the layer leaves no process", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const scope = yield* Scope.make()
      const context = yield* Scope.extend(open(), scope)
      const image = yield* smallImage(directory)
      stop()
      const fiber = yield* Effect.fork(
        Effect.provide(Effect.scoped(InitImageNormalizer.normalizeScoped(image)), context)
      )
      yield* Effect.sleep("50 millis")
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.await(fiber)
      yield* eventually(() => assert.isEmpty(children()))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("gets none of the parent's secrets, and loads no other format", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const context = yield* open()
      const [pid] = children()
      const names = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").map((line) => line.replace(/=.*/s, ""))
      assert.notInclude(names, "HOME")
      // Passes the parent's check of the signature, and is a GIF to the child's loaders.
      const image = yield* smallImage(directory)
      const gif = yield* Effect.promise(() => picture(80, 60).gif().toBuffer())
      const service = Context.get(context, InitImageNormalizer.InitImageNormalizer)
      writeFileSync(image.path, gif)
      const exit = yield* Effect.exit(
        service.decode(
          yield* FileSystem.FileSystem,
          { path: image.path, format: "gif", width: 80, height: 60, isTurned: false },
          undefined,
          false
        )
      )
      assert.include(String(exit), "UndecodableImage")
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("that does not start fails the layer", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const path = join(directory, "child.mjs")
      writeFileSync(path, `import "a-package-that-is-not-installed"`)
      const error = yield* Effect.flip(
        Effect.scoped(Layer.build(InitImageNormalizer.layerChildProcess({ entry: pathToFileURL(path) })))
      )
      assert.strictEqual(error._tag, "SharpNotAvailable")
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("ends when its parent was killed", () =>
    Effect.gen(function*() {
      // Deno has another `process.argv[1]` beside `-e`.
      const source = `
        const entry = ${JSON.stringify(program.entry.pathname)}
        const child = require("node:child_process").fork(entry, ["png"], { stdio: ["ignore", "ignore", "ignore", "ipc"] })
        child.once("message", () => {
          process.stdout.write(String(child.pid), () => process.kill(process.pid, "SIGKILL"))
        })`
      const { signal, stdout } = spawnSync(process.execPath, ["-e", source], { encoding: "utf8" })
      assert.strictEqual(signal, "SIGKILL")
      yield* eventually(() => assert.isFalse(isRunning(Number(stdout))))
    }))
})
