/**
 * One new file with a name that nobody can guess, that is gone unless all of it was written.
 */
import * as Error from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import { tmpdir } from "node:os"

export interface Options {
  readonly directory?: string | undefined
  readonly prefix?: string | undefined
}

/** What is asked of the spool for a file; `keep` may refuse it. */
export interface Files<out E> {
  readonly directory: Effect.Effect<string | undefined, Error.PlatformError>
  readonly keep: (path: string, bytes: number) => Effect.Effect<void, E>
  readonly removed: (path: string) => Effect.Effect<void>
}

/** Uninterruptible: a system call cannot be called back, and its descriptor must not be closed under it. */
export type Write = (bytes: Uint8Array) => Effect.Effect<void, Error.PlatformError>

const defaultPrefix = "session-init-"
const validPrefix = /^[A-Za-z0-9._-]*$/

/** Only its owner may read or write it. */
const mode = 0o600

/** 128 bits for each name, drawn for many at once: a draw costs more than the rest of the name. */
const randomBytes = 16
const pool = new Uint8Array(64 * randomBytes)
let drawn = pool.length

const randomName = (): string => {
  if (drawn === pool.length) {
    globalThis.crypto.getRandomValues(pool)
    drawn = 0
  }
  const name = Encoding.encodeHex(pool.subarray(drawn, drawn + randomBytes))
  // Nobody reads a name from here that is in use.
  pool.fill(0, drawn, drawn + randomBytes)
  drawn += randomBytes
  return name
}

/** How often a removal that fails is tried again at once. */
const removeRetries = 2

/** Fails with `BadArgument` where the prefix could lead out of the directory. */
export const checkOptions = (options: Options | undefined): Effect.Effect<void, Error.BadArgument> =>
  options?.prefix === undefined || validPrefix.test(options.prefix) ? Effect.void : new Error.BadArgument({
    module: "FileSystem",
    method: "open",
    description: "a prefix may hold only A-Z, a-z, 0-9, '.', '_' and '-'"
  })

const errnoOf = (cause: unknown): string | undefined =>
  Predicate.hasProperty(cause, "code") && typeof cause.code === "string" ? cause.code : undefined

/** The same error without the path that the platform puts into it, its description and its cause; the code stays. */
const withoutPath = (error: Error.PlatformError): Error.PlatformError =>
  error._tag === "BadArgument"
    ? new Error.BadArgument({ module: error.module, method: error.method })
    : new Error.SystemError({
      reason: error.reason,
      module: error.module,
      method: error.method,
      syscall: error.syscall,
      description: errnoOf(error.cause)
    })

const isPlatformError = (u: unknown): u is Error.PlatformError => Error.isPlatformError(u)

/** A failing close is a defect of the platform's scoped `open`; here it is storage trouble like any other. */
const closeDescriptor = (descriptor: Scope.CloseableScope): Effect.Effect<void, Error.PlatformError> =>
  Effect.catchSomeDefect(
    Scope.close(descriptor, Exit.void),
    (defect) => isPlatformError(defect) ? Option.some(Effect.fail(withoutPath(defect))) : Option.none()
  )

/** Whether the file is gone now. */
const remove = (fs: FileSystem.FileSystem, path: string): Effect.Effect<boolean> =>
  fs.remove(path, { force: true }).pipe(
    Effect.retry({ times: removeRetries }),
    // Bun fails with EROFS also where there is nothing to remove.
    Effect.catchAll((error) =>
      Effect.flatMap(
        Effect.orElseSucceed(fs.exists(path), () => true),
        (exists) => exists ? Effect.fail(error) : Effect.void
      )
    ),
    Effect.mapError(withoutPath),
    Effect.as(true),
    Effect.catchAllCause((cause) =>
      // The one place that names a path: nobody but the operator can remove the file now.
      Effect.logWarning("An init image could not be removed", cause).pipe(
        Effect.annotateLogs("path", path),
        Effect.as(false)
      )
    )
  )

/** What `open` reports as failed may have happened all the same, unless it says that the name is somebody else's. */
const mayHaveCreated = (cause: Cause.Cause<Error.PlatformError>): boolean =>
  !Option.exists(
    Cause.failureOption(cause),
    (error) => error._tag === "SystemError" && error.reason === "AlreadyExists"
  )

/** A new file's name: where it goes, and what is told of it. */
export interface Target<out E> {
  readonly extension: string
  readonly options: Options | undefined
  readonly spool: Files<E>
}

interface Written<out A> {
  readonly value: A
  readonly bytes: number
}

/**
 * Creates a file and lets it be written; answers its path, and what was written. The file is removed when the scope
 * closes, whether or not it was ever finished.
 */
const publish = <A, B, E, R, E2>(
  { extension, options, spool }: Target<E2>,
  create: (fs: FileSystem.FileSystem, path: string) => Effect.Effect<A, Error.PlatformError>,
  finish: (created: A, fs: FileSystem.FileSystem, path: string) => Effect.Effect<Written<B>, E, R>
): Effect.Effect<
  { readonly path: string; readonly value: B },
  E | E2 | Error.PlatformError,
  R | FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const path = paths.resolve(
      options?.directory ?? (yield* Effect.mapError(spool.directory, withoutPath)) ?? tmpdir(),
      `${options?.prefix ?? defaultPrefix}${randomName()}${extension}`
    )

    const created = yield* create(fs, path).pipe(
      Effect.onError((cause) => Effect.when(remove(fs, path), () => mayHaveCreated(cause))),
      Effect.mapError(withoutPath)
    )
    let closed = false
    let gone = false
    // Not `Effect.addFinalizer`: what that registers puts back the references of the fiber that it runs in, and an
    // interruption that came while the file was removed would be forgotten for good (effect 3.22).
    yield* Scope.addFinalizer(
      yield* Effect.scope,
      Effect.suspend(() => {
        closed = true
        return Effect.flatMap(remove(fs, path), (removed) => {
          gone = removed
          return gone ? spool.removed(path) : Effect.void
        })
      })
    )

    const { bytes, value } = yield* finish(created, fs, path)
    yield* spool.keep(path, bytes)
    if (!closed) return { path, value }
    if (gone) yield* spool.removed(path)
    return yield* Effect.interrupt
  })

/**
 * Creates a file of these bytes, exclusively and for its owner only, on one descriptor and in one call: each call
 * costs a turn between the event loop and the system's threads.
 */
export const createWhole = <E>(
  target: Target<E>,
  bytes: Uint8Array
): Effect.Effect<string, E | Error.PlatformError, FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.map(
      publish(
        target,
        (fs, path) => fs.writeFile(path, bytes, { flag: "wx", mode }),
        // Who has been interrupted meanwhile keeps nothing.
        () => restore(Effect.succeed({ value: undefined, bytes: bytes.length }))
      ),
      ({ path }) => path
    )
  )

/**
 * Creates a file, exclusively and for its owner only, lets `use` write it, and closes it; answers its path, and what
 * `use` did.
 *
 * The descriptor belongs to this effect and not to the scope, which somebody else may close in the middle: it would be
 * closed under a write, and its number may already be another file's. In that case this ends as interrupted.
 */
export const create = <A, E, R, E2>(
  target: Target<E2>,
  use: (write: Write) => Effect.Effect<A, E, R>
): Effect.Effect<
  { readonly path: string; readonly value: A },
  E | E2 | Error.PlatformError,
  R | FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.uninterruptibleMask((restore) =>
    publish(
      target,
      (fs, path) =>
        Effect.flatMap(Scope.make(), (descriptor) =>
          Scope.extend(fs.open(path, { flag: "wx", mode }), descriptor).pipe(
            Effect.onError(() => Effect.exit(closeDescriptor(descriptor))),
            Effect.map((file) => ({ file, descriptor }))
          )),
      Effect.fnUntraced(function*({ descriptor, file }, fs, path) {
        let bytes = 0
        const write: Write = (chunk) =>
          Effect.suspend(() => {
            bytes += chunk.length
            return Effect.uninterruptible(Effect.mapError(file.writeAll(chunk), withoutPath))
          })
        const exit = yield* Effect.exit(restore(use(write)))
        const finished = yield* Effect.exit(closeDescriptor(descriptor))
        if (Exit.isFailure(exit) && Exit.isFailure(finished)) {
          yield* Effect.logWarning("An init image's file could not be closed", finished.cause)
        }
        const value = yield* exit
        yield* finished
        // While it was written, somebody may have removed it, or the directory that it is in.
        yield* Effect.mapError(fs.access(path), withoutPath)
        return { value, bytes }
      })
    )
  )

/**
 * Gives the effect a scope that is closed as soon as it fails, is interrupted or dies, and is otherwise left to
 * `makeScope`: a failure that the caller catches leaves nothing in a scope that stays open.
 */
const closeOnFailure = <A, E, R, R2>(
  effect: Effect.Effect<A, E, R>,
  makeScope: Effect.Effect<Scope.CloseableScope, never, R2>
): Effect.Effect<A, E, Exclude<R, Scope.Scope> | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(makeScope, (scope) =>
      restore(Scope.extend(effect, scope)).pipe(
        Effect.onExit((exit) => Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void)
      ))
  )

/** On success what the effect acquired is the caller's to remove. */
export const kept = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  closeOnFailure(effect, Scope.make())

/** On success what the effect acquired lives as long as the caller's scope. */
export const scoped = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope> | Scope.Scope> =>
  closeOnFailure(effect, Effect.flatMap(Effect.scope, (scope) => Scope.fork(scope, ExecutionStrategy.sequential)))
