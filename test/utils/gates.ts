/** A file system, and sources, that hold whoever persists an image until the test lets it go on. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { Stage, Told } from "./spoolModel.js"
import { diskError, layerWith } from "./spools.js"
import { writeFileThrough } from "./writeFileThrough.js"

/** Everything that is ready has run, once. */
export const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** What holds those that persist an image, or looks on. */
export interface Gate {
  readonly stop: (stage: Stage) => Effect.Effect<Told>
}

/** One that is worked by hand. */
export interface Lock extends Gate {
  /** Where it holds now. */
  readonly at: () => Stage | undefined
  readonly tell: (told: Told) => void
  /** Holds nobody any more. */
  readonly open: () => void
}

export const makeLock = (): Lock => {
  let opened = false
  let held: { readonly stage: Stage; readonly told: Deferred.Deferred<Told> } | undefined
  const tell = (told: Told): void => {
    const gate = held
    held = undefined
    if (gate !== undefined) Deferred.unsafeDone(gate.told, Effect.succeed(told))
  }
  return {
    at: () => held?.stage,
    stop: (stage) =>
      Effect.suspend(() => {
        if (opened) return Effect.succeed("go")
        const told = Deferred.unsafeMake<Told>(FiberId.none)
        held = { stage, told }
        return Effect.onInterrupt(Deferred.await(told), () =>
          Effect.sync(() => {
            held = undefined
          }))
      }),
    tell,
    open: () => {
      opened = true
      tell("go")
    }
  }
}

/** Of whoever runs, if it is to be held at all. */
export class CurrentGate extends Context.Reference<CurrentGate>()("session-init-image/test/CurrentGate", {
  defaultValue: (): Gate | undefined => undefined
}) {}

const stop = (stage: Stage): Effect.Effect<Told> =>
  Effect.flatMap(CurrentGate, (gate) => gate === undefined ? Effect.succeed("go") : gate.stop(stage))

/** Held, and then perhaps told to fail as on a full disk. */
const stopOrFail = (stage: Stage) =>
  Effect.flatMap(stop(stage), (told) => told === "fault" ? Effect.fail(diskError(stage, "ENOSPC")) : Effect.void)

/** The real file system, which holds those that have a gate before they create, write or remove a file. */
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
