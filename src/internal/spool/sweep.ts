/**
 * Removes the directories of dead spools from the parent directory that all spools share.
 *
 * A spool counts as dead when a sweeper has observed its heartbeat unchanged for 1.5 times `staleAfter`. The sweep
 * compares no dates and looks up no processes: the owner may have run in another container or on another host, and wall
 * clocks jump. With S for `staleAfter`, and a beat and a sweep every S/10:
 *
 * - A live spool that is suspended for less than S beats again within 1.1 S of its last beat, well before 1.5 S.
 * - A dead spool is first observed within 0.1 S of its end and counts as dead within 0.1 S after 1.5 S: it is removed
 *   after at most 1.7 S, which leaves 0.3 S of 2 S for slow disks.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as metrics from "../metrics.js"
import * as layout from "./layout.js"
import * as owners from "./owner.js"

/** Time between two beats of a spool, and between two of its sweeps. */
export const interval = (staleAfter: Duration.Duration): Duration.Duration => Duration.times(staleAfter, 0.1)

/** A spool is dead after this multiple of `staleAfter` without a change of its heartbeat. */
const deadAfterFactor = 1.5

/**
 * The most that the time between two observations adds to the unchanged time, in intervals. A sweeper that was
 * suspended, perhaps with its whole machine, thereby gives live spools time to beat.
 */
const maxGapIntervals = 2

/**
 * The most directories observed in one sweep, those first that were observed longest ago. Each takes about 0.4 ms of CPU
 * time, and any user may create directories in a shared parent. The times above hold for up to this number; above it, dead
 * spools are removed later.
 */
export const maxObservationsPerSweep = 256

interface Observation {
  /** `undefined` where the heartbeat could not be read, which is no evidence of death. */
  readonly signature: string | undefined
  /** Monotonic, in milliseconds. */
  readonly observedAt: number
  /** How long the signature has been observed unchanged, in milliseconds. */
  readonly unchangedFor: number
}

/** Monotonic, unlike `Clock.currentTimeMillis`. */
const monotonicMillis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1000n) / 1000)

export interface Sweeper {
  /** Observes all other spools once and removes the dead ones. Logs a failure; the next sweep tries again. */
  readonly sweep: Effect.Effect<void>
}

export const make = (
  owner: owners.Owner,
  staleAfter: Duration.Duration
): Effect.Effect<Sweeper, never, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const deadAfter = Duration.toMillis(staleAfter) * deadAfterFactor
    const maxGap = Duration.toMillis(interval(staleAfter)) * maxGapIntervals
    const observations = new Map<string, Observation>()
    /** Entries that are skipped for as long as they exist. */
    const ignored = new Set<string>()

    /** Logs an entry once and skips it. */
    const ignore = (name: string, reason: string): Effect.Effect<void> =>
      Effect.suspend(() => {
        ignored.add(name)
        return Effect.logWarning(`The spool sweep ignores an entry: ${reason}`).pipe(Effect.annotateLogs("entry", name))
      })

    /** Ignores an entry that is not a directory, and another user's directory. */
    const signatureOf = Effect.fnUntraced(function*(name: string) {
      const path = paths.join(owner.parent, name)
      const info = yield* layout.statUnlessLink(fs, path)
      if (Option.isNone(info) || info.value.type !== "Directory") {
        yield* ignore(name, "it has the name of a spool's directory, but is not a directory")
        return undefined
      }
      const { uid } = info.value
      if (Option.isSome(uid) && !Option.contains(owner.uid, uid.value)) {
        ignored.add(name)
        return undefined
      }
      return yield* owners.signature(fs, paths, path)
    })

    /** Observes a directory's heartbeat and decides whether its owner is dead. */
    const isDead = Effect.fnUntraced(function*(name: string) {
      // The gap runs from the end of one read to the start of the next, so that a slow read never lengthens it.
      const readStartedAt = yield* monotonicMillis
      const signature = yield* Effect.orElseSucceed(signatureOf(name), () => undefined)
      const last = observations.get(name)
      const unchangedFor = signature !== undefined && last?.signature === signature
        ? last.unchangedFor + Math.min(readStartedAt - last.observedAt, maxGap)
        : 0
      observations.set(name, { signature, observedAt: yield* monotonicMillis, unchangedFor })
      return unchangedFor >= deadAfter
    })

    /**
     * Moves a dead spool's directory into the sweeper's own. The rename is atomic: of two concurrent sweepers one
     * fails with `NotFound`, and an owner that resumes finds all of its files or an empty path.
     *
     * From a directory with foreign entries it removes only the spool's own, and leaves it in place.
     */
    const evict = Effect.fnUntraced(function*(name: string) {
      const path = paths.join(owner.parent, name)
      const { foreignCount, hasHeartbeat, imageCount, ownEntries } = yield* layout.readContents(fs, paths, path)
      if (!hasHeartbeat && ownEntries.length + foreignCount > 0) {
        return yield* ignore(name, "it has the name of a spool's directory, but no heartbeat")
      }
      if (foreignCount === 0) return yield* fs.rename(path, paths.join(yield* owner.directory, name))
      for (const entry of [...ownEntries, layout.heartbeatName]) {
        yield* fs.remove(paths.join(path, entry), { recursive: true, force: true })
      }
      metrics.add(metrics.sweptFiles, imageCount)
      yield* ignore(name, "it is a dead spool's directory with files that the spool did not create")
    })

    /** Removes the evicted directories, including those that an earlier sweep failed to remove. */
    const removeEvicted = Effect.gen(function*() {
      const directory = yield* owner.directory
      for (const name of (yield* fs.readDirectory(directory)).filter(layout.isOwnerName)) {
        const path = paths.join(directory, name)
        const { foreignCount, imageCount } = yield* layout.readContents(fs, paths, path)
        if (foreignCount > 0) {
          yield* fs.rename(path, paths.join(owner.parent, name))
        } else {
          yield* layout.removeOwner(fs, paths, path)
          metrics.add(metrics.sweptFiles, imageCount)
        }
      }
    })

    const orLog = (effect: Effect.Effect<void, PlatformError>): Effect.Effect<void> =>
      effect.pipe(
        Effect.uninterruptible,
        // The directory's owner or another sweeper has removed it already.
        Effect.catchIf(layout.isNotFound, () => Effect.void),
        Effect.mapError(owners.withoutPath),
        Effect.catchAllCause((cause) => Effect.logWarning("Cannot remove a dead spool's directory", cause))
      )

    const observedAt = (name: string): number => observations.get(name)?.observedAt ?? -Infinity
    const byObservation = Order.mapInput(Order.number, observedAt)

    const sweep = Effect.gen(function*() {
      const own = paths.basename(yield* owner.directory)
      const names = new Set(
        (yield* fs.readDirectory(owner.parent)).filter((name) => layout.isOwnerName(name) && name !== own)
      )
      for (const known of [observations, ignored]) {
        for (const name of [...known.keys()].filter((name) => !names.has(name))) known.delete(name)
      }
      const due = [...names].filter((name) => !ignored.has(name)).sort(byObservation).slice(0, maxObservationsPerSweep)
      for (const name of due) {
        if (yield* isDead(name)) yield* orLog(evict(name))
      }
      yield* orLog(removeEvicted)
    }).pipe(
      Effect.mapError(owners.withoutPath),
      Effect.catchAllCause((cause) => Effect.logWarning("Cannot sweep the spools' parent directory", cause))
    )

    return { sweep }
  })
