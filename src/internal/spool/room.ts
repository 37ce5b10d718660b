/**
 * The room that a spool gives to one image: reserved, filled with a file, published, released.
 *
 * ```
 * Unreserved ─reserve→ Reserved ─append→ Writing ─publish→ Published ─handOver→ HandedOver
 *                         ▲ └──────────────publish───────────▲ │
 *                         └──discard── Writing                 ▼
 *            any state but HandedOver ────release────────→ Released
 * ```
 *
 * A room has one owner at a time, so its operations never run at once: first the effect that persists the image, then
 * the scope that the image lives in.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { createHash, type Hash } from "node:crypto"
import { type Busy, TooLarge } from "../../InitImageError.js"
import * as removal from "../persist/removal.js"
import * as tempFile from "../persist/tempFile.js"
import type { Admission } from "./admission.js"
import type { Quota } from "./quota.js"
import { TakesSha256 } from "./sha256.js"

/** The size of the image that a room is for, in bytes. */
export interface RoomSize {
  /** The largest image that is allowed. */
  readonly maxBytes: number
  /** An upper bound of the image's size, where one is known before the image: the declared length of its message. */
  readonly expectedBytes?: number | undefined
  /** The image's size where it is known exactly. */
  readonly bytes?: number | undefined
}

/** The file of a published image. */
export interface PublishedFile {
  readonly path: string
  /** In lower-case hex, if the effect takes it. */
  readonly sha256: string | undefined
}

/** Room for one image. See the states above. */
export interface Room {
  /** The largest image that fits, in bytes: the limit, or the spool's where that is lower. */
  readonly maxBytes: number
  /**
   * Reserves the bytes. Waits first-in, first-out or fails with `Busy`, as the spool is set; fails with `Busy` where the
   * quota is full, and with `TooLarge` where the image can never fit.
   */
  readonly reserve: Effect.Effect<void, Busy | TooLarge>
  /** Creates the file with this extension, the first time, and writes the next bytes. A write is uninterruptible. */
  readonly append: (extension: string, bytes: Uint8Array) => Effect.Effect<void, PlatformError>
  /**
   * Writes the last bytes, closes the file and counts it as kept. Gives back the bytes in flight.
   * Fails with `Busy` where the quota is full by now. Uninterruptible, but for the moment before the file is counted.
   */
  readonly publish: (extension: string, bytes: Uint8Array) => Effect.Effect<PublishedFile, PlatformError | Busy>
  /** Removes a file that is being written, and keeps the reservation. */
  readonly discard: Effect.Effect<void>
  /** Leaves the published file to its new owner, who removes it. */
  readonly handOver: Effect.Effect<void>
  /**
   * Removes the file and gives everything back. A file that cannot be removed now counts as kept until it is. Idempotent;
   * never fails.
   */
  readonly release: Effect.Effect<void>
  /** Whether a file is published and not handed over or released. */
  readonly isPublished: () => boolean
}

interface Writing {
  readonly _tag: "Writing"
  readonly path: string
  readonly open: tempFile.OpenFile
  readonly bytes: number
  /** Of the bytes so far. */
  readonly hash: Hash | undefined
}

type State =
  | { readonly _tag: "Unreserved" | "Reserved" | "HandedOver" | "Released" }
  | Writing
  /** The file is closed, or its creation failed in a way that may have left it. */
  | { readonly _tag: "Closed" | "Published"; readonly path: string }

/** The parts of a spool that a room works with. */
export interface RoomContext {
  /** The spool's directory; `undefined` for the operating system's. */
  readonly directory: Effect.Effect<string | undefined, PlatformError>
  /** The largest image that the spool ever takes, in bytes. */
  readonly limit: number
  readonly admission: Admission
  readonly quota: Pick<Quota, "check" | "count" | "forget">
  /** Takes over a file that cannot be removed. */
  readonly onLeft: removal.Outcome["onLeft"]
}

/** Makes an unreserved room, for a file with these options. Takes the SHA-256 if the effect has {@link TakesSha256}. */
export const make = (
  { admission, directory, limit, onLeft, quota }: RoomContext,
  size: RoomSize,
  options: tempFile.Options | undefined
): Effect.Effect<Room, never, FileSystem.FileSystem | Path.Path> =>
  Effect.map(Effect.context<FileSystem.FileSystem | Path.Path>(), (context) => {
    const fs = Context.get(context, FileSystem.FileSystem)
    const paths = Context.get(context, Path.Path)
    const startHash = Context.get(context, TakesSha256) ? () => createHash("sha256") : () => undefined
    const maxBytes = Math.min(size.maxBytes, limit)
    const reservedBytes = size.bytes ?? Math.min(size.expectedBytes ?? Infinity, maxBytes)
    let state: State = { _tag: "Unreserved" }

    /** Bytes in flight. Without any limit there is nothing to count them against. */
    const inFlight = Number.isFinite(reservedBytes) ? reservedBytes : 0
    /** The size that the quota is checked for: of an image of unknown size, one byte. */
    const leastBytes = size.bytes ?? 1

    const setReserved = (): void => {
      state = { _tag: "Reserved" }
    }

    const reserve = Effect.uninterruptibleMask((restore): Effect.Effect<void, Busy | TooLarge> => {
      if (size.bytes !== undefined && size.bytes > maxBytes) {
        return new TooLarge({ bytes: size.bytes, limit: maxBytes })
      }
      // The quota is checked before the wait, and again after it: the room may have been taken meanwhile.
      const check = restore(quota.check(leastBytes))
      const acquire = Effect.map(admission.acquire(inFlight, restore), setReserved)
      return Effect.zipRight(check, Effect.zipRight(acquire, check))
    })

    /** Prepares a creation, which may leave a file even where it fails. */
    const prepareFile = (parent: string | undefined, extension: string): string => {
      const path = tempFile.newPath(paths, parent, options, extension)
      state = { _tag: "Closed", path }
      return path
    }

    const newPath = (extension: string): Effect.Effect<string, PlatformError> =>
      options?.directory === undefined
        ? Effect.mapBoth(directory, {
          onFailure: tempFile.withoutPath,
          onSuccess: (parent) => prepareFile(parent, extension)
        })
        : Effect.sync(() => prepareFile(options.directory, extension))

    /** A file of the same name is not the room's to remove. */
    const forgetOnCollision = Effect.mapError((error: PlatformError) => {
      if (tempFile.isCollision(error)) setReserved()
      return error
    })

    const create = (extension: string) =>
      Effect.flatMap(
        newPath(extension),
        (path) =>
          Effect.map(forgetOnCollision(tempFile.open(fs, path, options?.mode)), (open) => {
            const writing = { _tag: "Writing", path, open, bytes: 0, hash: startHash() } as const
            state = writing
            return writing
          })
      )

    const write = (writing: Writing, bytes: Uint8Array) => {
      state = { ...writing, bytes: writing.bytes + bytes.length }
      writing.hash?.update(bytes)
      return tempFile.append(writing.open, bytes)
    }

    const append = (extension: string, bytes: Uint8Array) =>
      Effect.uninterruptibleMask((restore) =>
        state._tag === "Writing"
          ? write(state, bytes)
          // Observe an interruption before the first bytes are written.
          : Effect.flatMap(create(extension), (writing) => Effect.zipRight(restore(Effect.void), write(writing, bytes)))
      )

    /** Writes the last bytes and closes the file. The first of the errors is the one that counts. */
    const finish = (writing: Writing, bytes: Uint8Array) =>
      Effect.gen(function*() {
        const { hash, open, path } = writing
        const appended = yield* Effect.exit(bytes.length === 0 ? Effect.void : write(writing, bytes))
        const closed = yield* Effect.exit(tempFile.close(open))
        state = { _tag: "Closed", path }
        if (Exit.isFailure(appended) && Exit.isFailure(closed)) yield* warnOfClose(closed.cause)
        yield* appended
        yield* closed
        yield* tempFile.checkExists(fs, path)
        return { path, hash }
      })

    const createWhole = (extension: string, bytes: Uint8Array) =>
      Effect.flatMap(
        newPath(extension),
        (path) =>
          Effect.map(
            forgetOnCollision(tempFile.createWhole(fs, path, bytes, options?.mode)),
            () => ({ path, hash: startHash()?.update(bytes) })
          )
      )

    const giveBack = (): void => admission.giveBack(inFlight)

    const publish = (extension: string, bytes: Uint8Array) =>
      Effect.uninterruptibleMask((restore) => {
        const total = bytes.length + (state._tag === "Writing" ? state.bytes : 0)
        const written = state._tag === "Writing" ? finish(state, bytes) : createWhole(extension, bytes)
        return Effect.flatMap(written, ({ hash, path }) =>
          // Observe an interruption before the file is counted.
          Effect.map(Effect.zipRight(restore(Effect.void), quota.count(path, total)), (): PublishedFile => {
            state = { _tag: "Published", path }
            giveBack()
            return { path, sha256: hash?.digest("hex") }
          }))
      })

    const remove = (path: string) => removal.remove(fs, path, { onRemoved: quota.forget(path), onLeft })

    const closeAndRemove = ({ open, path }: Writing) =>
      tempFile.close(open).pipe(
        Effect.catchAllCause(warnOfClose),
        Effect.zipRight(remove(path))
      )

    const discard = Effect.uninterruptible(Effect.suspend(() => {
      if (state._tag !== "Writing") return Effect.void
      const writing = state
      state = { _tag: "Reserved" }
      return closeAndRemove(writing)
    }))

    const release = Effect.uninterruptible(Effect.suspend(() => {
      const last = state
      if (last._tag !== "HandedOver") state = { _tag: "Released" }
      switch (last._tag) {
        case "Reserved":
          return Effect.sync(giveBack)
        case "Writing":
          return Effect.map(closeAndRemove(last), giveBack)
        case "Closed":
          return Effect.map(remove(last.path), giveBack)
        case "Published":
          return remove(last.path)
        default:
          return Effect.void
      }
    }))

    return {
      maxBytes,
      reserve,
      append,
      publish,
      discard,
      handOver: Effect.sync(() => {
        state = { _tag: "HandedOver" }
      }),
      release,
      isPublished: () => state._tag === "Published"
    }
  })

const warnOfClose = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.logWarning("An init image's file could not be closed", cause)

/** Releases a published room when the scope closes. Ends as interrupted where the scope has been closed meanwhile. */
export const attach = (room: Room, scope: Scope.Scope): Effect.Effect<void> =>
  // Not `Effect.addFinalizer`: its finalizer restores the fiber's references and can lose an interruption that came
  // while the file was being removed (effect 3.22).
  Effect.flatMap(
    Scope.addFinalizer(scope, room.release),
    () => room.isPublished() ? Effect.void : Effect.interrupt
  )

/** Makes a room that ends with the others of its run. */
export type Own = <E, R>(makeRoom: Effect.Effect<Room, E, R>) => Effect.Effect<Room, E, R>

/**
 * Runs `use`, which owns a room for each image. Releases the rooms when `use` fails, is interrupted or dies, before this
 * ends; leaves published images to `onPublished`.
 */
const withRooms = <A, E, R, R3>(
  use: (own: Own) => Effect.Effect<A, E, R>,
  onPublished: (room: Room) => Effect.Effect<void, never, R3>
): Effect.Effect<A, E, R | R3> =>
  Effect.uninterruptibleMask((restore) => {
    const rooms: Array<Room> = []
    const own: Own = (makeRoom) =>
      Effect.uninterruptible(Effect.map(makeRoom, (room) => {
        rooms.push(room)
        return room
      }))
    return Effect.flatMap(Effect.exit(restore(use(own))), (exit) =>
      Effect.flatMap(
        // Each of them, also where an owner has gone meanwhile.
        Effect.forEach(
          rooms,
          (room) => Effect.exit(Exit.isSuccess(exit) && room.isPublished() ? onPublished(room) : room.release)
        ),
        (owned) => Effect.zipRight(owned.find(Exit.isFailure) ?? Effect.void, exit)
      ))
  })

/** Runs `use`; the files of published images are the caller's to remove. */
export const allKept = <A, E, R>(use: (own: Own) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  withRooms(use, (room) => room.handOver)

/** Runs `use`; published images live as long as the caller's scope. */
export const allScoped = <A, E, R>(
  use: (own: Own) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Scope.Scope> => withRooms(use, (room) => Effect.scopeWith((scope) => attach(room, scope)))

/** {@link allKept} with one room. */
export const kept = <A, E, R, E2, R2>(
  makeRoom: Effect.Effect<Room, E2, R2>,
  use: (room: Room) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | E2, R | R2> => allKept((own) => Effect.flatMap(own(makeRoom), use))

/** {@link allScoped} with one room. */
export const scoped = <A, E, R, E2, R2>(
  makeRoom: Effect.Effect<Room, E2, R2>,
  use: (room: Room) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | E2, R | R2 | Scope.Scope> => allScoped((own) => Effect.flatMap(own(makeRoom), use))
