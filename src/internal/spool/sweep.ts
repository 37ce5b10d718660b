/**
 * Removes what dead spools left in the directory that they share.
 *
 * A spool is dead when its heartbeat has not changed while somebody watched it for one and a half times `staleAfter`.
 * No date is compared and no process is looked up: the dead may have run in another container or on another host, and
 * clocks jump. With S for `staleAfter`, and a beat and a look every S/10:
 *
 * - A spool that stands still for less than S beats again within 1.1 S of its last beat, well before 1.5 S.
 * - A dead one is seen within 0.1 S of its end and found unchanged for 1.5 S within 0.1 S more: it is gone after 1.7 S,
 *   which leaves 0.3 S of the 2 S for slow disks.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as layout from "./layout.js"
import * as metrics from "./metrics.js"
import * as owners from "./owner.js"

/** How long a spool waits between two beats, and between two looks at the others. */
export const interval = (staleAfter: Duration.Duration): Duration.Duration => Duration.times(staleAfter, 0.1)

const patience = 1.5

/**
 * Time that passes unseen counts as no more than this many intervals: a watcher that stood still, with its whole
 * machine perhaps, gives the others time to beat before it finds them dead.
 */
const creditIntervals = 2

interface Watched {
  readonly signature: string
  /** When it was last read, in milliseconds of the clock that never jumps. */
  readonly at: number
  /** For how long it has been seen unchanged, in milliseconds. */
  readonly unchanged: number
}

/** Milliseconds of a clock that the wall clock's jumps do not touch. */
const monotonicMillis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1000n) / 1000)

export interface Sweeper {
  /** One look at all others; removes those that are dead. What it cannot do is logged, and tried again next time. */
  readonly look: Effect.Effect<void>
}

export const make = (
  owner: owners.Owner,
  staleAfter: Duration.Duration
): Effect.Effect<Sweeper, never, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const deadAfter = Duration.toMillis(staleAfter) * patience
    const mostCredit = Duration.toMillis(interval(staleAfter)) * creditIntervals
    const watched = new Map<string, Watched>()
    const left = new Set<string>()

    /** Not looked at again as long as it is there, so it is said once. */
    const leave = (name: string, why: string): Effect.Effect<void> =>
      Effect.suspend(() => {
        left.add(name)
        return Effect.logWarning(`Left in the spools' directory: ${why}`).pipe(Effect.annotateLogs("entry", name))
      })

    /** None for what is not a spool's directory, or another user's, whose files are not ours to remove. */
    const signatureOf = Effect.fnUntraced(function*(name: string) {
      const path = paths.join(owner.parent, name)
      const found = yield* layout.inspect(fs, path)
      if (Option.isNone(found) || found.value.type !== "Directory") {
        yield* leave(name, "it is named like a spool's directory, but is none")
        return Option.none()
      }
      const { uid } = found.value
      if (Option.isSome(uid) && !Option.contains(owner.uid, uid.value)) return Option.none()
      return Option.some(yield* owners.signature(fs, paths, path))
    })

    /** Looks at one directory, and says whether its owner is dead by now. */
    const isDead = Effect.fnUntraced(function*(name: string) {
      const before = yield* monotonicMillis
      // What cannot be read is not known to be dead.
      const signature = yield* Effect.orElseSucceed(signatureOf(name), Option.none)
      if (Option.isNone(signature)) {
        watched.delete(name)
        return false
      }
      const last = watched.get(name)
      const unchanged = last?.signature === signature.value
        ? last.unchanged + Math.min(before - last.at, mostCredit)
        : 0
      watched.set(name, { signature: signature.value, at: yield* monotonicMillis, unchanged })
      return unchanged >= deadAfter
    })

    /**
     * Moves a dead owner's directory into our own, at one stroke and where nobody else can reach it: of two that sweep
     * at once one finds nothing, and an owner that comes back finds all or nothing of its files.
     */
    const take = Effect.fnUntraced(function*(name: string) {
      const path = paths.join(owner.parent, name)
      const { files, foreign, heartbeat, own } = yield* layout.contents(fs, paths, path)
      if (!heartbeat && own.length + foreign > 0) {
        return yield* leave(name, "it is named like a spool's directory, but has no heartbeat")
      }
      if (foreign === 0) return yield* fs.rename(path, paths.join(yield* owner.directory, name))
      for (const entry of [...own, layout.heartbeatName]) {
        yield* fs.remove(paths.join(path, entry), { recursive: true, force: true })
      }
      metrics.add(metrics.sweptFiles, files)
      yield* leave(name, "in a dead spool's directory are things that it did not make")
    })

    /** What has been taken, also by a look before this one that could not remove all of it. */
    const removeTaken = Effect.gen(function*() {
      const directory = yield* owner.directory
      for (const name of (yield* fs.readDirectory(directory)).filter(layout.isOwnerName)) {
        const path = paths.join(directory, name)
        const { files, foreign } = yield* layout.contents(fs, paths, path)
        if (foreign > 0) {
          yield* fs.rename(path, paths.join(owner.parent, name))
        } else {
          yield* layout.removeOwner(fs, paths, path)
          metrics.add(metrics.sweptFiles, files)
        }
      }
    })

    const orLog = (effect: Effect.Effect<void, PlatformError>): Effect.Effect<void> =>
      effect.pipe(
        Effect.uninterruptible,
        // Its owner, or another that sweeps, was there first.
        Effect.catchIf(layout.isNotFound, () => Effect.void),
        Effect.catchAllCause((cause) => Effect.logWarning("What a dead spool left could not be removed", cause))
      )

    const look = Effect.gen(function*() {
      const own = paths.basename(yield* owner.directory)
      const names = new Set(
        (yield* fs.readDirectory(owner.parent)).filter((name) => layout.isOwnerName(name) && name !== own)
      )
      for (const seen of [watched, left]) {
        for (const name of [...seen.keys()].filter((name) => !names.has(name))) seen.delete(name)
      }
      for (const name of names) {
        if (!left.has(name) && (yield* isDead(name))) yield* orLog(take(name))
      }
      yield* orLog(removeTaken)
    }).pipe(
      Effect.catchAllCause((cause) => Effect.logWarning("The spools' directory could not be swept", cause))
    )

    return { look }
  })
