/** Processes a file of JSON lines, each a payload, with bounded concurrency, and displays the progress. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Terminal from "@effect/platform/Terminal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { InitImageError, InitImageFrame, type SessionInitImage } from "session-init-image"

/** Counts of lines by outcome: `done`, `none` for a line without an image, or the tag of an `InitImageError`. */
export type Outcomes = Readonly<Record<string, number>>

const count = (outcomes: Outcomes, outcome: string): Outcomes => ({
  ...outcomes,
  [outcome]: (outcomes[outcome] ?? 0) + 1
})

const describe = (outcomes: Outcomes): string =>
  Object.entries(outcomes).map(([outcome, lines]) => `${lines} ${outcome}`).join(", ")

/**
 * Runs `work` on the image of every line while its file exists. Counts a refused line and continues. Fails with
 * `PlatformError` if the disk fails, and with the error of `work`.
 */
export const run = Effect.fn("batch.run")(function*<E, R>(
  file: string,
  work: (image: SessionInitImage.SessionInitImage) => Effect.Effect<void, E, R>,
  { concurrency = 4 }: { readonly concurrency?: number } = {}
) {
  const fs = yield* FileSystem.FileSystem
  const terminal = yield* Terminal.Terminal

  const process = (line: string) =>
    InitImageFrame.persistScoped(line, { at: [] }).pipe(
      Effect.flatMap(({ image }) => Effect.transposeMapOption(image, work)),
      Effect.map((done) => Option.isSome(done) ? "done" : "none"),
      Effect.catchIf(InitImageError.isInitImageError, (error) => Effect.succeed(error._tag)),
      Effect.scoped
    )

  const outcomes = yield* fs.stream(file).pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.filter((line) => line.trim() !== ""),
    Stream.mapEffect(process, { concurrency, unordered: true }),
    Stream.scan({}, count),
    Stream.tap((outcomes) => terminal.display(`\r${describe(outcomes)}`)),
    Stream.runLast
  )
  yield* terminal.display("\n")
  return Option.getOrElse(outcomes, (): Outcomes => ({}))
})
