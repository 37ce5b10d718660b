import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
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

/** Compiled by `npm run check`: each step's channels are what the design says, and no wider. */
describe("types", () => {
  it("hold each step's errors to those that it can fail with", () => {
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
    expectTypeOf(verify).returns.toEqualTypeOf<SessionInitImage.VerifiedStream<SourceError | VerifyError, Source>>()
    expectTypeOf(verifyPiped).returns.toEqualTypeOf<
      SessionInitImage.VerifiedStream<SourceError | VerifyError, Source>
    >()
    const unknown = () => SessionInitImage.verify(source, { mime: "image/png", name: "x" })
    const unknownPiped = () => source.pipe(SessionInitImage.verify({ mime: "image/png" }))
    type Unknown = SessionInitImage.VerifiedStream<
      SourceError | VerifyError | InitImageError.TooLarge | InitImageError.Empty,
      Source
    >
    expectTypeOf(unknown).returns.toEqualTypeOf<Unknown>()
    expectTypeOf(unknownPiped).returns.toEqualTypeOf<Unknown>()
  })

  it("let writing fail with nothing but PlatformError and what the stream fails with", () => {
    const write = (stream: SessionInitImage.VerifiedStream<SourceError, Source>) => SessionInitImage.write(stream)
    const writeScoped = (stream: SessionInitImage.VerifiedStream<SourceError, Source>) =>
      stream.pipe(SessionInitImage.writeScoped({ prefix: "x" }))
    expectTypeOf(write).returns.toEqualTypeOf<
      Effect.Effect<SessionInitImage.SessionInitImage, SourceError | PlatformError, Source | Files>
    >()
    expectTypeOf(writeScoped).returns.toEqualTypeOf<
      Effect.Effect<SessionInitImage.SessionInitImage, SourceError | PlatformError, Source | Files | Scope.Scope>
    >()
  })

  it("let only what has been verified be written", () => {
    // @ts-expect-error a stream that has not been verified
    const unverified = () => SessionInitImage.write(source)
    // @ts-expect-error nor one that was changed after it had been
    const changed = () => SessionInitImage.write(Stream.map(SessionInitImage.verify(source, payload), (_) => _))
    expectTypeOf(unverified).toBeFunction()
    expectTypeOf(changed).toBeFunction()
  })

  it("are the designed signatures of what does it all", () => {
    expectTypeOf(SessionInitImage.persist).toEqualTypeOf<
      (
        payload: unknown,
        options?: SessionInitImage.PersistOptions
      ) => Effect.Effect<
        Option.Option<SessionInitImage.SessionInitImage>,
        InitImageError.InitImageError | PlatformError,
        Files
      >
    >()
    expectTypeOf(SessionInitImage.persistScoped).toEqualTypeOf<
      (
        payload: unknown,
        options?: SessionInitImage.PersistOptions
      ) => Effect.Effect<
        Option.Option<SessionInitImage.SessionInitImage>,
        InitImageError.InitImageError | PlatformError,
        Files | Scope.Scope
      >
    >()
    type StreamError =
      | SourceError
      | InitImageError.InvalidMime
      | VerifyError
      | InitImageError.TooLarge
      | InitImageError.Empty
      | InitImageError.Busy
      | PlatformError
    const persistStream = () => SessionInitImage.persistStream({ mime: "image/png" }, source)
    expectTypeOf(persistStream).returns.toEqualTypeOf<
      Effect.Effect<SessionInitImage.SessionInitImage, StreamError, Source | Files>
    >()
    const persistStreamScoped = () => SessionInitImage.persistStreamScoped({ mime: "image/png" }, source, {})
    expectTypeOf(persistStreamScoped).returns.toEqualTypeOf<
      Effect.Effect<SessionInitImage.SessionInitImage, StreamError, Source | Files | Scope.Scope>
    >()
  })

  it("name the image's fields as designed", () => {
    expectTypeOf<SessionInitImage.SessionInitImage["mime"]>().toEqualTypeOf<ImageFormat.Mime>()
    expectTypeOf<ImageFormat.Mime>().toEqualTypeOf<"image/png" | "image/jpeg" | "image/webp">()
    expectTypeOf<SessionInitImage.SessionInitImage["orientation"]>().toEqualTypeOf<1 | 2 | 3 | 4 | 5 | 6 | 7 | 8>()
  })
})
