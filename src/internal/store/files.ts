/**
 * Objects as files of one directory. A file begins with its description, a line of ASCII, so that both are replaced in
 * one rename.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import * as tempFile from "../persist/tempFile.js"
import { randomNames } from "../process.js"
import { StoreError } from "./models.js"
import type { Found, Head, Listed, Objects } from "./objects.js"

/** The longest description, in bytes; also read at once. */
const maxDescription = 4096

const chunkBytes = 512 * 1024

/** Files that are still being written. */
const partPrefix = ".part-"

const newLine = 0x0a

const isNotFound = (error: PlatformError): boolean => error._tag === "SystemError" && error.reason === "NotFound"

/** A file that is not there is no failure of the store. */
const orNone = (operation: StoreError["operation"]) => <A, R>(effect: Effect.Effect<A, PlatformError, R>) =>
  Effect.catchAll(Effect.asSome(effect), (error) =>
    isNotFound(error)
      ? Effect.succeedNone
      : Effect.fail(new StoreError({ operation, reason: "Unavailable" })))

const toStoreError = (operation: StoreError["operation"]) => (error: PlatformError): StoreError =>
  new StoreError({ operation, reason: isNotFound(error) ? "NoBucket" : "Unavailable" })

/** The milliseconds of a time that some file systems do not have. */
const millis = (time: Option.Option<Date>): number =>
  Option.match(time, { onNone: () => 0, onSome: (date) => date.getTime() })

export const make = (fs: FileSystem.FileSystem, path: Path.Path, directory: string): Objects => {
  const pathOf = (key: string) => path.join(directory, key)

  const write = (key: string, description: string, bytes: Stream.Stream<Uint8Array, StoreError>) =>
    Effect.suspend(() => {
      const part = pathOf(`${partPrefix}${randomNames.next()}`)
      const failed = toStoreError("put")
      return Effect.acquireUseRelease(
        Effect.mapError(tempFile.open(fs, part), failed),
        (open) =>
          Effect.gen(function*() {
            const append = (chunk: Uint8Array) => Effect.mapError(tempFile.append(open, chunk), failed)
            yield* append(Buffer.from(`${description}\n`, "latin1"))
            yield* Stream.runForEach(bytes, append)
            // A network file system may tell only here that it could not write.
            yield* Effect.mapError(tempFile.close(open), failed)
          }),
        (open) => Effect.ignore(tempFile.close(open))
      ).pipe(
        Effect.zipRight(Effect.uninterruptible(Effect.mapError(fs.rename(part, pathOf(key)), failed))),
        Effect.onError(() => Effect.ignore(tempFile.remove(fs, part))),
        Effect.zipRight(Clock.currentTimeMillis)
      )
    })

  /** Opens an object and reads its head; the descriptor stands at the first of its bytes. */
  const open = Effect.fnUntraced(function*(key: string) {
    const file = yield* fs.open(pathOf(key), { flag: "r" })
    const info = yield* file.stat
    const first = yield* file.readAlloc(maxDescription)
    const start = Option.getOrElse(first, () => new Uint8Array())
    const end = start.indexOf(newLine)
    const head: Head = {
      modifiedAt: millis(info.mtime),
      now: yield* Clock.currentTimeMillis,
      bytes: Math.max(0, Number(info.size) - end - 1),
      description: Buffer.from(start.subarray(0, Math.max(0, end))).toString("latin1")
    }
    return { file, head, rest: start.subarray(end + 1) }
  })

  const get = (key: string) =>
    Effect.map(open(key), ({ file, head, rest }): Found => ({
      ...head,
      stream: Stream.concat(
        rest.length === 0 ? Stream.empty : Stream.succeed(rest),
        Stream.repeatEffectOption(Effect.flatMap(
          Effect.mapError(file.readAlloc(chunkBytes), (error) => Option.some(toStoreError("get")(error))),
          Either.fromOption(() => Option.none<StoreError>())
        ))
      )
    })).pipe(orNone("get"))

  const entries = Effect.mapError(fs.readDirectory(directory), toStoreError("list"))

  const listed = (key: string): Effect.Effect<Option.Option<Listed>, StoreError> =>
    Effect.zipWith(
      orNone("list")(fs.stat(pathOf(key))),
      Clock.currentTimeMillis,
      (info, now) => Option.map(info, ({ mtime }) => ({ key, modifiedAt: millis(mtime), now }))
    )

  const list = (isListed: (name: string) => boolean) =>
    Stream.fromIterableEffect(entries).pipe(
      Stream.filter(isListed),
      Stream.mapEffect(listed),
      Stream.filterMap((entry) => entry)
    )

  const remove = (key: string) => Effect.mapError(tempFile.remove(fs, pathOf(key)), toStoreError("remove"))

  return {
    put: (key, body, description) => write(key, description, body.stream),
    head: (key) => Effect.scoped(Effect.map(open(key), ({ head }) => head)).pipe(orNone("get")),
    get,
    remove,
    list: list((name) => !name.startsWith(partPrefix)),
    sweepParts: (age) =>
      list((name) => name.startsWith(partPrefix)).pipe(
        Stream.filter(({ modifiedAt, now }) => now - modifiedAt >= age),
        Stream.mapEffect(({ key }) => remove(key)),
        Stream.runCount
      )
  }
}
