import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { bytesPerTurn, turn } from "../../../../src/internal/eventLoop.js"
import { maxBufferBytes } from "../../../../src/internal/persist/bufferPool.js"
import { ImageBuffer } from "../../../../src/internal/persist/imageBuffer.js"
import { Done, type Reader, type Step } from "../../../../src/internal/persist/reader.js"
import * as sources from "../../../../src/internal/persist/sources.js"
import { decodePacer } from "../../../../src/internal/process.js"
import { makeClock } from "../../../utils/turns.js"

/** Records the chunks that it is pushed, and answers the steps in order; `"more"` after the last. */
const makeReader = <A>(steps: ReadonlyArray<Step<{ readonly _tag: "Refused" }>> = []) => {
  const pushed: Array<A> = []
  let resumed = 0
  const remaining = [...steps]
  const answer = (): Step<{ readonly _tag: "Refused" }> => remaining.shift() ?? "more"
  const reader: Reader<A, string, { readonly _tag: "Refused" }> = {
    buffer: new ImageBuffer({ push: () => undefined }, 0),
    push: (chunk) => {
      pushed.push(chunk)
      return answer()
    },
    resume: () => {
      resumed += 1
      return remaining[0] === "full" && pushed.length > 0 ? answer() : "more"
    },
    end: () => new Done("end")
  }
  return { reader, pushed, resumed: () => resumed }
}

const refused = { _tag: "Refused" } as const

const streamOf = (...chunks: ReadonlyArray<ReadonlyArray<number>>) =>
  Stream.fromChunks(...chunks.map((chunk) => Chunk.fromIterable(chunk.map((byte) => Uint8Array.of(byte)))))

const bytesOf = (pushed: ReadonlyArray<Uint8Array>) => pushed.map((chunk) => chunk[0])

describe("sources", () => {
  describe("fromString and fromBytes", () => {
    it.live("push a message in slices, and end", () =>
      Effect.gen(function*() {
        const text = "0123456789abcdef".repeat(80_000)
        const bytes = new TextEncoder().encode(text)
        const string = makeReader<string>()
        assert.strictEqual(yield* sources.fromString(text).pump(string.reader), "ended")
        assert.deepStrictEqual(string.pushed.map(({ length }) => length), [512 * 1024, 512 * 1024, 231_424])
        assert.strictEqual(string.pushed.join(""), text)
        const binary = makeReader<Uint8Array>()
        assert.strictEqual(yield* sources.fromBytes(bytes).pump(binary.reader), "ended")
        assert.deepStrictEqual(binary.pushed.map((slice) => [slice.byteOffset, slice.length]), [
          [0, 512 * 1024],
          [512 * 1024, 512 * 1024],
          [1024 * 1024, 231_424]
        ])
        assert.isTrue(binary.pushed.every(({ buffer }) => buffer === bytes.buffer))
      }))

    it.live("push nothing of an empty message", () =>
      Effect.gen(function*() {
        const { pushed, reader } = makeReader<string>()
        assert.strictEqual(yield* sources.fromString("").pump(reader), "ended")
        assert.deepStrictEqual(pushed, [])
      }))

    it.live("stop where the reader stops, and continue with the rest of the slice", () =>
      Effect.gen(function*() {
        const { pushed, reader, resumed } = makeReader<string>(["full", "full", "image", "discard", "done"])
        const source = sources.fromString("a".repeat(2_000_000))
        assert.strictEqual(yield* source.pump(reader), "full")
        assert.strictEqual(yield* source.pump(reader), "full")
        assert.lengthOf(pushed, 1)
        assert.strictEqual(yield* source.pump(reader), "image")
        assert.lengthOf(pushed, 2)
        assert.strictEqual(yield* source.pump(reader), "discard")
        assert.strictEqual(yield* source.pump(reader), "ended")
        assert.lengthOf(pushed, 4)
        assert.strictEqual(resumed(), 5)
      }))

    it.live("fail with the error of the reader, and push nothing after it", () =>
      Effect.gen(function*() {
        const { pushed, reader } = makeReader<Uint8Array>(["more", refused])
        const error = yield* Effect.flip(sources.fromBytes(new Uint8Array(3_000_000)).pump(reader))
        assert.strictEqual(error, refused)
        assert.lengthOf(pushed, 2)
      }))

    it.scopedLive("wait with each slice for its turn of the event loop", () =>
      Effect.gen(function*() {
        const clock = yield* makeClock
        const turns: Array<number> = []
        const { reader } = makeReader<string>()
        const noting = { ...reader, push: () => (turns.push(clock.now), "more" as const) }
        yield* turn
        yield* decodePacer.wait(bytesPerTurn)
        const start = clock.now
        yield* sources.fromString("a".repeat(3 * 512 * 1024)).pump(noting)
        assert.deepStrictEqual(turns.map((turn) => turn - start), [1, 2, 3])
      }))
  })

  describe("fromText", () => {
    it.live("pushes the text once, and resumes the reader after each full buffer", () =>
      Effect.gen(function*() {
        const { pushed, reader, resumed } = makeReader<string>(["full", "full"])
        const source = sources.fromText("text")
        assert.strictEqual(yield* source.pump(reader), "full")
        assert.strictEqual(yield* source.pump(reader), "full")
        assert.strictEqual(yield* source.pump(reader), "ended")
        assert.deepStrictEqual(pushed, ["text"])
        assert.strictEqual(resumed(), 2)
        const failing = makeReader<string>([refused])
        assert.strictEqual(yield* Effect.flip(sources.fromText("text").pump(failing.reader)), refused)
      }))

    it.scopedLive("waits for its turn of the event loop with each buffer", () =>
      Effect.gen(function*() {
        const clock = yield* makeClock
        const turnsOf = (count: number, length: number) =>
          Effect.gen(function*() {
            const turns = new Set<number>()
            const text = "a".repeat(length)
            const pump = () => {
              const { reader } = makeReader<string>()
              const noting = { ...reader, push: () => (turns.add(clock.now), "more" as const) }
              return sources.fromText(text).pump(noting)
            }
            yield* turn
            yield* Effect.forEach(Array.from({ length: count }), pump, { concurrency: "unbounded" })
            return turns.size
          })
        assert.strictEqual(yield* turnsOf(8, bytesPerTurn / 8), 1)
        // Two buffers fit in a turn, however long the text is.
        assert.strictEqual(yield* turnsOf(4, 4 * maxBufferBytes), 2)
      }))
  })

  describe("fromStream", () => {
    it.scoped("pushes all chunks that were pulled together, and ends", () =>
      Effect.gen(function*() {
        let pulled = 0
        const stream = streamOf([1, 2], [], [3], [4, 5]).pipe(
          Stream.chunks,
          Stream.tap(() => Effect.sync(() => pulled++)),
          Stream.flattenChunks
        )
        const source = yield* sources.fromStream(stream)
        const { pushed, reader } = makeReader<Uint8Array>()
        assert.strictEqual(yield* source.pump(reader), "ended")
        assert.deepStrictEqual(bytesOf(pushed), [1, 2, 3, 4, 5])
        assert.isAtLeast(pulled, 3)
      }))

    it.scoped("stops where the reader stops, and continues with the same chunks before it pulls", () =>
      Effect.gen(function*() {
        const pulls: Array<number> = []
        const stream = streamOf([1, 2, 3], [4]).pipe(
          Stream.mapChunksEffect((chunk) => Effect.sync(() => (pulls.push(chunk.length), chunk)))
        )
        const source = yield* sources.fromStream(stream)
        const { pushed, reader } = makeReader<Uint8Array>(["full", "full", "image", "discard", "done"])
        assert.strictEqual(yield* source.pump(reader), "full")
        assert.strictEqual(yield* source.pump(reader), "full")
        assert.deepStrictEqual(bytesOf(pushed), [1])
        assert.strictEqual(yield* source.pump(reader), "image")
        assert.strictEqual(yield* source.pump(reader), "discard")
        assert.deepStrictEqual(bytesOf(pushed), [1, 2, 3])
        assert.deepStrictEqual(pulls, [3])
        assert.strictEqual(yield* source.pump(reader), "ended")
        assert.deepStrictEqual(pulls, [3, 1])
      }))

    it.scoped("fails with the reader's error before the stream's", () =>
      Effect.gen(function*() {
        const stream = Stream.concat(streamOf([1, 2], [3]), Stream.fail("cut off" as const))
        const first = makeReader<Uint8Array>(["more", refused])
        assert.strictEqual(yield* Effect.flip((yield* sources.fromStream(stream)).pump(first.reader)), refused)
        assert.deepStrictEqual(bytesOf(first.pushed), [1, 2])
        const second = makeReader<Uint8Array>()
        assert.strictEqual(yield* Effect.flip((yield* sources.fromStream(stream)).pump(second.reader)), "cut off")
        assert.deepStrictEqual(bytesOf(second.pushed), [1, 2, 3])
      }))

    it.effect("runs the stream as long as the scope is open", () =>
      Effect.gen(function*() {
        const events: Array<string> = []
        const scope = yield* Scope.make()
        const stream = Stream.ensuring(streamOf([1]), Effect.sync(() => events.push("closed")))
        const source = yield* Scope.extend(sources.fromStream(Stream.concat(stream, Stream.never)), scope)
        const { pushed, reader } = makeReader<Uint8Array>()
        const fiber = yield* Effect.fork(source.pump(reader))
        while (events.length === 0) yield* Effect.yieldNow()
        assert.deepStrictEqual(bytesOf(pushed), [1])
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        yield* Scope.close(scope, Exit.void)
        const open = yield* Scope.make()
        let isClosed = false
        yield* Scope.extend(
          sources.fromStream(Stream.ensuring(Stream.never, Effect.sync(() => isClosed = true))),
          open
        ).pipe(Effect.flatMap((source) => Effect.fork(source.pump(reader))))
        yield* Effect.repeatN(Effect.yieldNow(), 10)
        assert.isFalse(isClosed)
        yield* Scope.close(open, Exit.void)
        assert.isTrue(isClosed)
      }))

    it.scoped("pushes a great number of chunks without growing the stack", () =>
      Effect.gen(function*() {
        const count = 50_000
        const source = yield* sources.fromStream(
          Stream.fromIterable(Array.from({ length: count }, () => Uint8Array.of(1))).pipe(Stream.rechunk(1))
        )
        const { pushed, reader } = makeReader<Uint8Array>()
        assert.strictEqual(yield* source.pump(reader), "ended")
        assert.lengthOf(pushed, count)
      }))
  })
})
