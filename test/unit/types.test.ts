import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { type ImageFormat, type InitImageError, InitImagePayload, SessionInitImage } from "../../src/index.js"

type Files = FileSystem.FileSystem | Path.Path
type VerifyError = InitImageError.ContentMismatch | InitImageError.MalformedImage | InitImageError.TooManyPixels

class SourceError {
  readonly _tag = "SourceError"
}
class Source {
  readonly _tag = "Source"
}

declare const source: Stream.Stream<Uint8Array, SourceError, Source>

const payload = new InitImagePayload.InitImagePayload({ mime: "image/png", data: "" })

/** `npm run check` compiles these assertions of the documented types. */
describe("types", () => {
  it("hold the errors of each step to those that it can fail with", () => {
    expectTypeOf(InitImagePayload.decode).returns.toEqualTypeOf<
      Effect.Effect<
        Option.Option<InitImagePayload.InitImagePayload>,
        InitImageError.InvalidPayload | InitImageError.InvalidMime
      >
    >()
    expectTypeOf(SessionInitImage.checkSize).returns.toEqualTypeOf<
      Effect.Effect<number, InitImageError.TooLarge | InitImageError.Empty | InitImageError.BadBase64>
    >()
    expectTypeOf(SessionInitImage.decode).returns.toEqualTypeOf<
      Stream.Stream<Uint8Array, InitImageError.BadBase64>
    >()
  })

  it("let only a source of unknown length fail with TooLarge or Empty", () => {
    const verify = () => SessionInitImage.verify(source, payload)
    const verifyPiped = () => source.pipe(SessionInitImage.verify(payload))
    type Known = Stream.Stream<Uint8Array, SourceError | VerifyError, Source>
    expectTypeOf(verify).returns.toEqualTypeOf<Known>()
    expectTypeOf(verifyPiped).returns.toEqualTypeOf<Known>()
    const unknown = () => SessionInitImage.verify(source, { mime: "image/png", name: "x" })
    const unknownPiped = () => source.pipe(SessionInitImage.verify({ mime: "image/png" }))
    type Unknown = Stream.Stream<
      Uint8Array,
      SourceError | VerifyError | InitImageError.TooLarge | InitImageError.Empty,
      Source
    >
    expectTypeOf(unknown).returns.toEqualTypeOf<Unknown>()
    expectTypeOf(unknownPiped).returns.toEqualTypeOf<Unknown>()
  })

  type RawError =
    | InitImageError.InvalidMime
    | VerifyError
    | InitImageError.TooLarge
    | InitImageError.Empty
    | InitImageError.Busy
    | PlatformError

  it("hold the errors of a sink to those of an image of unknown size", () => {
    type Image = SessionInitImage.SessionInitImage
    expectTypeOf(SessionInitImage.sink).toEqualTypeOf<
      (
        meta: SessionInitImage.ImageMeta,
        options?: SessionInitImage.PersistOptions
      ) => Sink.Sink<Image, Uint8Array, never, RawError, Files>
    >()
    expectTypeOf(SessionInitImage.sinkScoped).toEqualTypeOf<
      (
        meta: SessionInitImage.ImageMeta,
        options?: SessionInitImage.PersistOptions
      ) => Effect.Effect<Sink.Sink<Image, Uint8Array, never, RawError, Files>, never, Scope.Scope>
    >()
    const run = () => Stream.run(source, SessionInitImage.sink({ mime: "image/png" }))
    expectTypeOf(run).returns.toEqualTypeOf<Effect.Effect<Image, SourceError | RawError, Source | Files>>()
  })

  it("are the documented signatures of the operations that persist an image", () => {
    expectTypeOf(SessionInitImage.persist).toEqualTypeOf<
      (
        payload: unknown,
        options?: SessionInitImage.PayloadOptions
      ) => Effect.Effect<
        Option.Option<SessionInitImage.SessionInitImage>,
        InitImageError.InitImageError | PlatformError,
        Files
      >
    >()
    expectTypeOf(SessionInitImage.persistScoped).toEqualTypeOf<
      (
        payload: unknown,
        options?: SessionInitImage.PayloadOptions
      ) => Effect.Effect<
        Option.Option<SessionInitImage.SessionInitImage>,
        InitImageError.InitImageError | PlatformError,
        Files | Scope.Scope
      >
    >()
    type StreamError = SourceError | RawError
    const persistStream = () => SessionInitImage.persistStream({ mime: "image/png" }, source)
    expectTypeOf(persistStream).returns.toEqualTypeOf<
      Effect.Effect<SessionInitImage.SessionInitImage, StreamError, Source | Files>
    >()
    const persistStreamScoped = () => SessionInitImage.persistStreamScoped({ mime: "image/png" }, source, {})
    expectTypeOf(persistStreamScoped).returns.toEqualTypeOf<
      Effect.Effect<SessionInitImage.SessionInitImage, StreamError, Source | Files | Scope.Scope>
    >()
  })

  it("the image's fields have the documented types", () => {
    expectTypeOf<SessionInitImage.SessionInitImage["mime"]>().toEqualTypeOf<ImageFormat.Mime>()
    expectTypeOf<ImageFormat.Mime>().toEqualTypeOf<"image/png" | "image/jpeg" | "image/webp">()
    expectTypeOf<SessionInitImage.SessionInitImage["orientation"]>().toEqualTypeOf<1 | 2 | 3 | 4 | 5 | 6 | 7 | 8>()
  })

  it("an ImageFormat built by hand is refused", () => {
    // @ts-expect-error only the module itself makes an ImageFormat
    const format: ImageFormat.ImageFormat = { name: "png", mime: "image/png", extension: ".png", aliases: [] }
    expectTypeOf(format.name).toEqualTypeOf<ImageFormat.Name>()
    expectTypeOf<keyof ImageFormat.ImageFormat & string>().toEqualTypeOf<"name" | "mime" | "extension" | "aliases">()
  })
})
