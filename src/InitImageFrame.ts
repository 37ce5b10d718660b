/**
 * A JSON message that carries an init image, read from its bytes.
 *
 * Most of such a message is one string. Making that a string of JavaScript, and then parsing it, costs more time and
 * memory than all the rest: so it is found without parsing, decoded where it is, as it arrives, and only what is left
 * goes through `JSON.parse`.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { InitImageError } from "./InitImageError.js"
import * as frame from "./internal/json/message.js"
import * as telemetry from "./internal/metrics.js"
import * as tempFile from "./internal/persist/tempFile.js"
import type { PersistOptions, SessionInitImage } from "./SessionInitImage.js"

/**
 * Where in the message the payload stands: the keys that lead to it, from the outermost object. With none, the message
 * is the payload.
 *
 * @since 0.1.0
 * @category models
 */
export interface FrameOptions {
  readonly at: ReadonlyArray<string>
}

/**
 * A message as `JSON.parse` has it, with the payload's `data` left out, and the image that was in it.
 *
 * @since 0.1.0
 * @category models
 */
export interface InitImageFrame {
  readonly message: unknown
  readonly image: Option.Option<SessionInitImage>
}

type Json<E, R> = string | Uint8Array | Stream.Stream<Uint8Array, E, R>

const observed = <E, R>(
  name: string,
  effect: Effect.Effect<InitImageFrame, E, R>,
  options: PersistOptions | undefined
) =>
  Effect.zipRight(tempFile.checkOptions(options), effect).pipe(
    telemetry.observe(({ image }) => image),
    telemetry.withSpan(name)
  )

/**
 * Persists the image in a JSON message (RFC 8259) and gives the file to the caller, who removes it.
 *
 * The message is a string, all of its bytes, or a stream of them; whatever its size and the order of its keys, only a
 * few chunks of the image are in memory. The outcome is that of `JSON.parse` followed by `SessionInitImage.persist`
 * of what stands `at` the given place, with the same errors; but a stream is refused as `TooLarge` as soon as it is.
 *
 * Fails with any `InitImageError`, `InvalidPayload` among them where the message is not JSON or not UTF-8 (`NotJson`),
 * nested deeper than 128 (`TooDeep`), or has more than `InitImageLimits.MaxMessageBytes` beside the data
 * (`MessageTooLarge`); with `PlatformError` where the disk does; and with whatever the stream fails with.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persist: <E = never, R = never>(
  json: Json<E, R>,
  frame: FrameOptions,
  options?: PersistOptions
) => Effect.Effect<InitImageFrame, InitImageError | PlatformError | E, FileSystem.FileSystem | Path.Path | R> = (
  json,
  { at },
  options
) => observed("InitImageFrame.persist", tempFile.kept(frame.persist(json, at, options)), options)

/**
 * {@link persist}, with a file that lives as long as the scope.
 *
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { InitImageFrame } from "session-init-image"
 *
 * // { "type": "session_init", "initial_image": { "mime": "image/png", "data": "..." } }
 * const open = (frame: string | Uint8Array) =>
 *   Effect.gen(function*() {
 *     const { image, message } = yield* InitImageFrame.persistScoped(frame, { at: ["initial_image"] })
 *     return { message, path: Option.map(image, ({ path }) => path) }
 *   })
 * ```
 */
export const persistScoped: <E = never, R = never>(
  json: Json<E, R>,
  frame: FrameOptions,
  options?: PersistOptions
) => Effect.Effect<
  InitImageFrame,
  InitImageError | PlatformError | E,
  FileSystem.FileSystem | Path.Path | Scope.Scope | R
> = (json, { at }, options) =>
  observed("InitImageFrame.persistScoped", tempFile.scoped(frame.persist(json, at, options)), options)
