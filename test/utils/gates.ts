/** Gates that suspend operations at a stage of persisting an image, until the test resumes them. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { Stage, Told } from "./spoolModel.js"
import { diskError, layerWith } from "./spools.js"
import { writeFileThrough } from "./writeFileThrough.js"

/** Waits for one turn of the event loop. */
export const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Called at each stage of an operation. Its result decides how the operation continues. */
export interface Gate {
  readonly stop: (stage: Stage) => Effect.Effect<Told>
}

/** A gate that a test operates. */
export interface Lock extends Gate {
  /** The stage at which an operation is suspended. */
  readonly at: () => Stage | undefined
  /** Resumes the suspended operation. */
  readonly tell: (told: Told) => void
  /** Resumes the suspended operation and suspends none after it. */
  readonly open: () => void
}

type LockState = Data.TaggedEnum<{
  Idle: {}
  Suspended: { readonly stage: Stage; readonly told: Deferred.Deferred<Told> }
  Open: {}
}>
const { Idle, Open, Suspended } = Data.taggedEnum<LockState>()

export const makeLock = (): Lock => {
  let state: LockState = Idle()
  const tell = (told: Told): void => {
    if (state._tag !== "Suspended") return
    const suspended = state
    state = Idle()
    Deferred.unsafeDone(suspended.told, Effect.succeed(told))
  }
  return {
    at: () => state._tag === "Suspended" ? state.stage : undefined,
    stop: (stage) =>
      Effect.suspend(() => {
        if (state._tag === "Open") return Effect.succeed("go")
        const told = Deferred.unsafeMake<Told>(FiberId.none)
        state = Suspended({ stage, told })
        return Effect.onInterrupt(Deferred.await(told), () =>
          Effect.sync(() => {
            if (state._tag === "Suspended") state = Idle()
          }))
      }),
    tell,
    open: () => {
      const previous = state
      state = Open()
      if (previous._tag === "Suspended") Deferred.unsafeDone(previous.told, Effect.succeed("go"))
    }
  }
}

/** The gate of the running operation; `undefined` suspends it nowhere. */
export class CurrentGate extends Context.Reference<CurrentGate>()("session-init-image/test/CurrentGate", {
  defaultValue: (): Gate | undefined => undefined
}) {}

const stop = (stage: Stage): Effect.Effect<Told> =>
  Effect.flatMap(CurrentGate, (gate) => gate === undefined ? Effect.succeed("go") : gate.stop(stage))

/** Suspends the operation, which then fails as on a full disk when the test injects a fault. */
const stopOrFail = (stage: Stage) =>
  Effect.flatMap(stop(stage), (told) => told === "fault" ? Effect.fail(diskError(stage, "ENOSPC")) : Effect.void)

/** The real file system, which stops at the current gate before it creates, writes or removes a file. */
export const layerGated = layerWith((fs) => {
  const open: typeof fs.open = (path, options) =>
    Effect.map(
      Effect.zipRight(stopOrFail("open"), fs.open(path, options)),
      (file) =>
        new Proxy(file, {
          get: (target, key) =>
            key === "writeAll"
              ? (bytes: Uint8Array) => Effect.zipRight(stopOrFail("write"), target.writeAll(bytes))
              : Reflect.get(target, key, target)
        })
    )
  return {
    remove: (path, options) => Effect.zipRight(stop("removing"), fs.remove(path, options)),
    open,
    writeFile: writeFileThrough(open)
  }
})
