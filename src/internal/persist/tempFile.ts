/**
 * The operations on an image's file: created exclusively under an unguessable name, by default for its owner only. No
 * error carries a path.
 */
import * as Error from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import { tmpdir } from "node:os"
import { check, textProblem } from "../options.js"
import { randomNames } from "../process.js"

/** The options of a file's place, name and mode; see `PersistOptions`. */
export interface Options {
  readonly directory?: string | undefined
  readonly prefix?: string | undefined
  readonly mode?: number | undefined
}

const defaultPrefix = "session-init-"
const validPrefix = /^[A-Za-z0-9._-]*$/

/** Readable and writable by the owner only. */
const defaultMode = 0o600

/** The permissions that a mode may add: reading and writing by the group, and reading by all. */
const addableMode = 0o064

/** Immediate retries of a removal that fails. */
const removeRetries = 2

const modeProblem = (mode: unknown): string | undefined =>
  mode === undefined || (typeof mode === "number" && (mode & ~addableMode) === defaultMode && (mode >>> 0) === mode)
    ? undefined
    : "mode must be 0o600, with 0o040, 0o020 or 0o004 added: no image is executable or writable by all"

/** The problem of options that make no sense. */
export const optionsProblem = (options: Options | undefined): string | undefined =>
  textProblem("directory", options?.directory) ?? modeProblem(options?.mode)

/** Fails with `BadArgument` where the prefix could lead out of the directory. Dies for options that make no sense. */
export const checkOptions = (options: Options | undefined): Effect.Effect<void, Error.BadArgument> =>
  options === undefined ? Effect.void : Effect.suspend(() => {
    check("PersistOptions", optionsProblem(options))
    return options.prefix === undefined || validPrefix.test(options.prefix) ? Effect.void : new Error.BadArgument({
      module: "FileSystem",
      method: "open",
      description: "a prefix may hold only A-Z, a-z, 0-9, '.', '_' and '-'"
    })
  })

const errnoOf = (cause: unknown): string | undefined =>
  Predicate.hasProperty(cause, "code") && typeof cause.code === "string" ? cause.code : undefined

/** The error without the path that the platform puts into it, its description and its cause; the errno code stays. */
export const withoutPath = (error: Error.PlatformError): Error.PlatformError =>
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

/** A new path: `<directory>/<prefix><32 hex digits><extension>`. */
export const newPath = (
  paths: Path.Path,
  directory: string | undefined,
  options: Options | undefined,
  extension: string
): string =>
  paths.resolve(directory ?? tmpdir(), `${options?.prefix ?? defaultPrefix}${randomNames.next()}${extension}`)

/** A file that is open for writing, and the scope that its descriptor belongs to. */
export interface OpenFile {
  readonly file: FileSystem.File
  readonly descriptor: Scope.CloseableScope
}

/**
 * Gives a new file all of the mode, from which the process's umask may have taken bits. The default mode is left as the
 * umask makes it, so that it costs no further call.
 */
const setMode = (fs: FileSystem.FileSystem, path: string, mode: number): Effect.Effect<void, Error.PlatformError> =>
  mode === defaultMode ? Effect.void : fs.chmod(path, mode)

/**
 * Creates a file exclusively and opens it. Uninterruptible, as the other operations: a system call cannot be called
 * back, and a descriptor must not be closed under it.
 */
export const open = (
  fs: FileSystem.FileSystem,
  path: string,
  mode: number = defaultMode
): Effect.Effect<OpenFile, Error.PlatformError> =>
  Effect.uninterruptible(
    Effect.flatMap(Scope.make(), (descriptor) =>
      Scope.extend(fs.open(path, { flag: "wx", mode }), descriptor).pipe(
        Effect.zipLeft(setMode(fs, path, mode)),
        Effect.map((file) => ({ file, descriptor })),
        Effect.onError(() => Effect.exit(close({ descriptor }))),
        Effect.mapError(withoutPath)
      ))
  )

/** Creates a file of these bytes exclusively, in one call: each call costs a turn on the system's threads. */
export const createWhole = (
  fs: FileSystem.FileSystem,
  path: string,
  bytes: Uint8Array,
  mode: number = defaultMode
): Effect.Effect<void, Error.PlatformError> =>
  fs.writeFile(path, bytes, { flag: "wx", mode }).pipe(
    Effect.zipRight(setMode(fs, path, mode)),
    Effect.mapError(withoutPath),
    Effect.uninterruptible
  )

/** Appends to an open file. */
export const append = ({ file }: OpenFile, bytes: Uint8Array): Effect.Effect<void, Error.PlatformError> =>
  Effect.uninterruptible(Effect.mapError(file.writeAll(bytes), withoutPath))

/**
 * Closes the descriptor. A failing close is a defect of the platform's scoped `open`, and a typed error here. Runs in
 * another fiber: a finalizer of `Effect.acquireRelease` can lose an interruption of its fiber (effect 3.22).
 */
export const close = (
  { descriptor }: Pick<OpenFile, "descriptor">
): Effect.Effect<void, Error.PlatformError> =>
  Effect.fork(Scope.close(descriptor, Exit.void)).pipe(
    Effect.flatMap(Fiber.await),
    Effect.flatten,
    Effect.catchSomeDefect((defect) =>
      isPlatformError(defect) ? Option.some(Effect.fail(withoutPath(defect))) : Option.none()
    ),
    Effect.uninterruptible
  )

/** Whether a creation failed because the name is taken. Any other failed creation may have created the file. */
export const isCollision = (error: Error.PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "AlreadyExists"

/** Fails where the file is not there, because it or its directory was removed meanwhile. */
export const checkExists = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void, Error.PlatformError> =>
  Effect.uninterruptible(Effect.mapError(fs.access(path), withoutPath))

/** Removes the file, if it is there. A removal that fails is tried again at once. */
export const remove = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void, Error.PlatformError> => {
  const once = fs.remove(path, { force: true })
  return Effect.uninterruptible(Effect.catchAll(once, () => removeAgain(fs, path, once)))
}

const removeAgain = (
  fs: FileSystem.FileSystem,
  path: string,
  once: Effect.Effect<void, Error.PlatformError>
): Effect.Effect<void, Error.PlatformError> =>
  once.pipe(
    Effect.retry({ times: removeRetries - 1 }),
    // Bun fails with EROFS also where there is nothing to remove.
    Effect.catchAll((error) =>
      Effect.flatMap(
        Effect.orElseSucceed(fs.exists(path), () => true),
        (exists) => exists ? Effect.fail(error) : Effect.void
      )
    ),
    Effect.mapError(withoutPath)
  )
