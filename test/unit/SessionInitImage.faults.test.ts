import * as NodeContext from "@effect/platform-node/NodeContext"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { writeFileSync } from "node:fs"
import { inspect } from "node:util"
import { SessionInitImage } from "../../src/index.js"
import { maxBufferBytes } from "../../src/internal/persist/bufferPool.js"
import { list, makeDirectory, openIn } from "../utils/directory.js"
import { pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"

/** An image of three writes. */
const image = pngOfSize(2.5 * maxBufferBytes)
const payload = payloadOf("image/png", image)
/** An image of one write. */
const small = pngOfSize(4096)
const smallPayload = payloadOf("image/png", small)
const pieces = Stream.make(image.subarray(0, 900_000), image.subarray(900_000, 1_200_000), image.subarray(1_200_000))

const noSpace = (method: string) =>
  new SystemError({
    module: "FileSystem",
    method,
    reason: "Unknown",
    syscall: method,
    pathOrDescriptor: "/secret/directory",
    description: "ENOSPC: no space left on device, open '/secret/directory'",
    cause: Object.assign(new Error("ENOSPC: '/secret/directory'"), { code: "ENOSPC" })
  })

/** Replaces one operation. */
type Fault = (operation: {
  readonly method: string
  readonly run: Effect.Effect<void, unknown>
  /** A part of a write. */
  readonly part: Effect.Effect<void, unknown>
}) => Effect.Effect<void, unknown>

const faults: Record<string, Fault> = {
  "fails and does nothing": ({ method }) => Effect.fail(noSpace(method)),
  "is done and reported as failed": ({ method, run }) => Effect.zipRight(run, Effect.fail(noSpace(method))),
  "is done in part and fails": ({ method, part }) => Effect.zipRight(part, Effect.fail(noSpace(method))),
  "dies": () => Effect.die("the disk is on fire"),
  "is done and dies": ({ run }) => Effect.zipRight(run, Effect.die("the disk is on fire"))
}

/**
 * The real file system with one fault at its n-th operation: open, each write, close, remove. The descriptor is closed
 * whatever a close reports, as an operating system does.
 */
const faulty = (at: number, fault: Fault) => {
  const methods: Array<string> = []
  const inject = <A, E>(
    method: string,
    run: Effect.Effect<A, E, never>,
    part: Effect.Effect<unknown, unknown> = Effect.void
  ): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      methods.push(method)
      if (methods.length !== at) return run
      let result: Option.Option<A> = Option.none()
      return fault({
        method,
        run: Effect.map(run, (value) => {
          result = Option.some(value)
        }),
        part: Effect.asVoid(part)
        // A fault fails with the error type of its operation, or dies.
      }).pipe(Effect.flatMap(() => Effect.orDie(result))) as Effect.Effect<A, E>
    })
  const layer = Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) => {
      const open: typeof fs.open = (path, options) =>
        Effect.gen(function*() {
          const scope = yield* Effect.scope
          const file = yield* inject("open", Scope.extend(fs.open(path, options), scope))
          yield* Effect.addFinalizer(() => Effect.orDie(inject("close", Effect.void)))
          return new Proxy(file, {
            get: (target, key) =>
              key === "writeAll"
                ? (bytes: Uint8Array) =>
                  inject("writeAll", target.writeAll(bytes), target.writeAll(bytes.subarray(0, bytes.length / 2)))
                : Reflect.get(target, key, target)
          })
        })
      return {
        ...fs,
        remove: (path: string, options?: FileSystem.RemoveOptions) => inject("remove", fs.remove(path, options)),
        open,
        writeFile: (path: string, bytes: Uint8Array, options?: FileSystem.WriteFileOptions) =>
          inject(
            "writeFile",
            fs.writeFile(path, bytes, options),
            fs.writeFile(path, bytes.subarray(0, bytes.length / 2), options)
          )
      }
    })
  )
  return { layer: Layer.provideMerge(layer, NodeContext.layer), methods }
}

type Services = Layer.Layer.Success<typeof NodeContext.layer>

interface Persisting {
  readonly run: (directory: string) => Effect.Effect<unknown, unknown, Services | Scope.Scope>
  readonly keeps: boolean
  readonly operations: ReadonlyArray<string>
}

const inPieces = ["open", "writeAll", "writeAll", "writeAll", "close"]
const whole = ["writeFile"]

const persisting: Record<string, Persisting> = {
  persist: {
    run: (directory) => SessionInitImage.persist(payload, { directory }),
    keeps: true,
    operations: inPieces
  },
  persistScoped: {
    run: (directory) => SessionInitImage.persistScoped(payload, { directory }),
    keeps: false,
    operations: inPieces
  },
  persistStream: {
    run: (directory) => SessionInitImage.persistStream({ mime: "image/png" }, pieces, { directory }),
    keeps: true,
    operations: inPieces
  },
  persistStreamScoped: {
    run: (directory) => SessionInitImage.persistStreamScoped({ mime: "image/png" }, pieces, { directory }),
    keeps: false,
    operations: inPieces
  },
  sink: {
    run: (directory) => Stream.run(pieces, SessionInitImage.sink({ mime: "image/png" }, { directory })),
    keeps: true,
    operations: inPieces
  },
  sinkScoped: {
    run: (directory) =>
      Effect.flatMap(
        SessionInitImage.sinkScoped({ mime: "image/png" }, { directory }),
        (sink) => Stream.run(pieces, sink)
      ),
    keeps: false,
    operations: inPieces
  },
  "sink of a small image": {
    run: (directory) => Stream.run(Stream.make(small), SessionInitImage.sink({ mime: "image/png" }, { directory })),
    keeps: true,
    operations: whole
  },
  "sinkScoped of a small image": {
    run: (directory) =>
      Effect.flatMap(
        SessionInitImage.sinkScoped({ mime: "image/png" }, { directory }),
        (sink) => Stream.run(Stream.make(small), sink)
      ),
    keeps: false,
    operations: whole
  },
  "persist of a small image": {
    run: (directory) => SessionInitImage.persist(smallPayload, { directory }),
    keeps: true,
    operations: whole
  },
  "persistStreamScoped of a small image": {
    run: (directory) => SessionInitImage.persistStreamScoped({ mime: "image/png" }, Stream.make(small), { directory }),
    keeps: false,
    operations: whole
  }
}

const quiet = Logger.replace(Logger.defaultLogger, Logger.none)

/** Runs the operation in a scope that is closed after the checks. */
const attempt = (
  { keeps, run }: Persisting,
  around: (effect: Effect.Effect<unknown, unknown, Services>) => Effect.Effect<
    Exit.Exit<unknown, unknown>,
    never,
    Services
  >,
  check: (directory: string, exit: Exit.Exit<unknown, unknown>) => void
) =>
  Effect.gen(function*() {
    const directory = yield* makeDirectory
    const scope = yield* Scope.make()
    const exit = yield* around(Scope.extend(run(directory), scope))
    assert.deepStrictEqual(openIn(directory), [], "no descriptor is left open")
    if (Exit.isFailure(exit)) {
      assert.deepStrictEqual(list(directory), [], "no file is left, though the scope is open")
    } else {
      assert.lengthOf(list(directory), 1)
    }
    check(directory, exit)
    yield* Scope.close(scope, Exit.void)
    assert.lengthOf(list(directory), keeps && Exit.isSuccess(exit) ? 1 : 0)
  })

const cases = Object.entries(persisting).flatMap(([name, it]) =>
  it.operations.map((method, at) => [name, method, at + 1, it] as const)
)

describe("SessionInitImage on a faulty disk", () => {
  it.scopedLive.each(Object.entries(persisting))("%s runs these operations and no others", ([, persist]) => {
    const { layer, methods } = faulty(0, () => Effect.void)
    const { keeps, operations } = persist
    return attempt(persist, Effect.exit, () => assert.deepStrictEqual(methods, operations)).pipe(
      Effect.zipRight(
        Effect.sync(() => assert.deepStrictEqual(methods, keeps ? operations : [...operations, "remove"]))
      ),
      Effect.provide(layer)
    )
  })

  for (const [what, fault] of Object.entries(faults)) {
    it.scopedLive.each(cases)(
      `%s leaves nothing when its %s (operation %i) ${what}`,
      ([, method, at, persist]) =>
        attempt(persist, Effect.exit, (_, exit) => {
          assert.isTrue(Exit.isFailure(exit))
          if (Exit.isFailure(exit) && !what.includes("dies")) {
            const error = Option.getOrThrow(Cause.failureOption(exit.cause)) as SystemError
            assert.strictEqual(error._tag, "SystemError")
            assert.strictEqual(error.method, method)
            assert.strictEqual(error.description, "ENOSPC")
            assert.notInclude(Cause.pretty(exit.cause) + inspect(exit.cause) + JSON.stringify(error), "secret")
          }
        }).pipe(Effect.provide([faulty(at, fault).layer, quiet]))
    )
  }

  it.scopedLive.each(cases)(
    "%s leaves nothing when it is interrupted in its %s (operation %i)",
    ([, , at, persist]) => {
      let fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
      const { layer } = faulty(
        at,
        ({ run }) => Effect.zipRight(Effect.sync(() => fiber?.unsafeInterruptAsFork(fiber.id())), run)
      )
      return attempt(
        persist,
        (effect) =>
          Effect.gen(function*() {
            fiber = yield* Effect.fork(effect)
            return yield* Fiber.await(fiber)
          }),
        (_, exit) => assert.isTrue(Exit.isInterrupted(exit))
      ).pipe(Effect.provide(layer))
    }
  )

  it.scopedLive.each(cases)("%s waits for its %s (operation %i) before it is interrupted", ([, , at, persist]) => {
    const begun = Deferred.unsafeMake<void>(FiberId.none)
    let done = false
    const { layer } = faulty(
      at,
      ({ run }) =>
        Deferred.succeed(begun, void 0).pipe(
          Effect.zipRight(Effect.sleep("30 millis")),
          Effect.zipRight(run),
          Effect.zipRight(Effect.sync(() => done = true))
        )
    )
    return attempt(
      persist,
      (effect) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.fork(effect)
          yield* Deferred.await(begun)
          return yield* Fiber.interrupt(fiber)
        }),
      (_, exit) => {
        assert.isTrue(done)
        assert.isTrue(Exit.isInterrupted(exit))
      }
    ).pipe(Effect.provide(layer))
  })

  it.scopedLive.each(Object.entries(persisting).filter(([, { keeps }]) => !keeps))(
    "%s retries a removal that fails once",
    ([, persist]) =>
      attempt(persist, Effect.exit, (_, exit) => assert.isTrue(Exit.isSuccess(exit))).pipe(
        Effect.provide(faulty(persist.operations.length + 1, ({ method }) => Effect.fail(noSpace(method))).layer)
      )
  )

  it.scoped("fails with the first error where a removal fails, and logs one that fails for good", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const logged: Array<string> = []
      const logger = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ annotations, cause, message }) =>
          logged.push(`${inspect(message)} ${Cause.pretty(cause)} ${inspect(HashMap.toEntries(annotations))}`)
        )
      )
      const real = yield* FileSystem.FileSystem
      const fs = {
        ...real,
        remove: () => Effect.fail(noSpace("remove")),
        // Without waiting for the disk: the retries run on the test clock.
        exists: () => Effect.succeed(true)
      }
      const cut = payloadOf("image/png", image.subarray(0, -5))
      const error = yield* SessionInitImage.persist(cut, { directory }).pipe(
        Effect.provideService(FileSystem.FileSystem, fs),
        Effect.provide(logger),
        Effect.flip
      )
      assert.strictEqual(error._tag, "MalformedImage")
      yield* TestClock.adjust("6 seconds")
      assert.lengthOf(logged, 0)
      yield* TestClock.adjust("1 second")
      assert.lengthOf(logged, 1)
      assert.include(logged[0], "could not be removed")
      assert.include(logged[0], "ENOSPC")
      assert.include(logged[0], `${directory}/${list(directory)[0]}`, "the log names the file")
      assert.notInclude(logged[0], "secret")
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive.each([payload, smallPayload])(
    "leaves a file of the same name alone that was there before",
    (payload) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const real = yield* FileSystem.FileSystem
        const fs: FileSystem.FileSystem = {
          ...real,
          open: (path, options) => {
            writeFileSync(path, "other content")
            return real.open(path, options)
          },
          writeFile: (path, bytes, options) => {
            writeFileSync(path, "other content")
            return real.writeFile(path, bytes, options)
          }
        }
        const error = yield* SessionInitImage.persist(payload, { directory }).pipe(
          Effect.provideService(FileSystem.FileSystem, fs),
          Effect.flip
        )
        assert.isTrue(error._tag === "SystemError" && error.reason === "AlreadyExists")
        assert.lengthOf(list(directory), 1)
        assert.strictEqual(yield* real.readFileString(`${directory}/${list(directory)[0]}`), "other content")
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("creates no file for an image that is refused in its first chunk", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { layer, methods } = faulty(0, () => Effect.void)
      const persist = (effect: Effect.Effect<unknown, unknown, Layer.Layer.Success<typeof layer>>) =>
        Effect.exit(Effect.provide(effect, layer))
      yield* persist(SessionInitImage.persist({ ...payload, mime: "image/webp" }, { directory }))
      yield* persist(SessionInitImage.persistStream({ mime: "image/webp" }, pieces, { directory }))
      yield* persist(SessionInitImage.persist(payloadOf("image/png", image.subarray(0, 1000)), { directory }))
      yield* persist(Stream.run(pieces, SessionInitImage.sink({ mime: "image/webp" }, { directory })))
      assert.deepStrictEqual(methods, [])
    }).pipe(Effect.provide(NodeContext.layer)))
})
