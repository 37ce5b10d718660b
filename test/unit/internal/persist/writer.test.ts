import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { Busy } from "../../../../src/InitImageError.js"
import type { Verified } from "../../../../src/internal/format/verifier.js"
import { maxBufferBytes } from "../../../../src/internal/persist/bufferPool.js"
import { ImageBuffer, minFreeBytes } from "../../../../src/internal/persist/imageBuffer.js"
import { Done, type Ended, type Step } from "../../../../src/internal/persist/reader.js"
import * as sources from "../../../../src/internal/persist/sources.js"
import * as writer from "../../../../src/internal/persist/writer.js"
import { buffers } from "../../../../src/internal/process.js"
import type { Room } from "../../../../src/internal/spool/room.js"
import { noise } from "../../../../src/testing/internal/bytes.js"
import { atEachStep, interruptAt } from "../../../utils/interruptions.js"
import { diskError } from "../../../utils/spools.js"

const refused = { _tag: "Refused" } as const

const verified: Verified = { format: ImageFormat.png, header: { width: 3, height: 2, orientation: 1 } }

/** Takes all bytes for an image, unverified; refuses the input at its end where `end` says so. */
class BytesReader<A> implements writer.ImageReader<Uint8Array, A, typeof refused> {
  readonly buffer = new ImageBuffer<never>({ push: () => undefined }, Infinity)
  readonly extension = () => ".png"
  readonly end: () => Ended<A, typeof refused>
  #chunk: Uint8Array = new Uint8Array()

  constructor(end: Ended<A, typeof refused>) {
    this.end = () => end
  }

  push(chunk: Uint8Array): Step<typeof refused> {
    this.#chunk = chunk
    return this.resume()
  }

  resume(): Step<typeof refused> {
    while (this.#chunk.length > 0) {
      if (!this.buffer.hasRoom()) return "full"
      const count = this.buffer.write(this.#chunk)
      this.buffer.commit(count)
      this.#chunk = this.#chunk.subarray(count)
    }
    return "more"
  }
}

/** A room that collects the bytes. An append lasts for the time of `pause`, and then reads the bytes. */
const published = { path: "/path", sha256: undefined }

const makeRoom = (pause: Effect.Effect<void> = Effect.void, replace: Partial<Room> = {}) => {
  const calls: Array<string> = []
  const written: Array<Buffer> = []
  const memory = new Set<ArrayBufferLike>()
  let appending = 0
  const collect = (bytes: Uint8Array) =>
    Effect.sync(() => {
      written.push(Buffer.from(bytes))
      memory.add(bytes.buffer)
    })
  const room: Room = {
    maxBytes: Infinity,
    reserve: Effect.sync(() => void calls.push("reserve")),
    append: (extension, bytes) =>
      Effect.gen(function*() {
        calls.push(`append ${extension}`)
        appending += 1
        yield* pause
        appending -= 1
        yield* collect(bytes)
      }).pipe(Effect.uninterruptible),
    publish: (extension, bytes) =>
      Effect.as(
        Effect.zipRight(Effect.sync(() => calls.push(`publish ${extension}`)), collect(bytes)),
        published
      ),
    discard: Effect.sync(() => void calls.push("discard")),
    handOver: Effect.void,
    release: Effect.void,
    isPublished: () => false,
    ...replace
  }
  return { room, calls, memory, isAppending: () => appending > 0, bytes: () => Buffer.concat(written) }
}

const yields = Effect.repeatN(Effect.yieldNow(), 5)

const streamOf = (bytes: Uint8Array, pieceLength: number) =>
  sources.fromStream(
    Stream.rechunk(
      Stream.fromIterable(
        Array.from(
          { length: Math.ceil(bytes.length / pieceLength) },
          (_, at) => bytes.subarray(at * pieceLength, (at + 1) * pieceLength)
        )
      ),
      1
    )
  )

const write = (
  bytes: Uint8Array,
  room: Room,
  { end = new Done(verified), pieceLength = 100_000 }: {
    readonly end?: Ended<Verified, typeof refused>
    readonly pieceLength?: number
  } = {}
) => {
  const reader = new BytesReader(end)
  return Effect.scoped(
    Effect.flatMap(streamOf(bytes, pieceLength), (source) => writer.write(reader, source, room))
  )
}

/** Whether all buffers of these sizes are with the pool: it hands out the memory that was used. */
const isGivenBack = (memory: Set<ArrayBufferLike>): boolean => {
  const taken = Array.from({ length: 4 }, () => buffers.take(maxBufferBytes))
  for (const buffer of taken) buffers.giveBack(buffer)
  return [...memory].every((used) => taken.some(({ buffer }) => buffer === used))
}

describe("writer", () => {
  it.effect("publishes an image that fits one buffer in one call", () =>
    Effect.gen(function*() {
      const { bytes, calls, room } = makeRoom()
      const image = noise(50_000)
      const written = yield* write(image, room, { pieceLength: 1000 })
      assert.deepStrictEqual(written, { ...verified, ...published, bytes: 50_000 })
      assert.deepStrictEqual(calls, ["reserve", "publish .png"])
      assert.isTrue(bytes().equals(image))
    }))

  it.effect("writes a large image from two buffers in turn, and fills none before it is written", () =>
    Effect.gen(function*() {
      for (const pause of [Effect.void, yields, Effect.repeatN(Effect.yieldNow(), 100)]) {
        const { bytes, calls, memory, room } = makeRoom(pause)
        const image = noise(7 * maxBufferBytes)
        const written = yield* write(image, room)
        assert.strictEqual(written.bytes, image.length)
        assert.isTrue(bytes().equals(image))
        assert.strictEqual(memory.size, 2)
        assert.strictEqual(calls[0], "reserve")
        assert.strictEqual(calls.at(-1), "publish .png")
        assert.isTrue(calls.slice(1, -1).every((call) => call === "append .png"))
        assert.isTrue(isGivenBack(memory))
      }
    }))

  it.effect("appends a buffer when fewer bytes are free than a decoder may write", () =>
    Effect.gen(function*() {
      for (const [length, appends] of [[maxBufferBytes - minFreeBytes + 1, 0], [maxBufferBytes + 1, 1]] as const) {
        const { bytes, calls, room } = makeRoom()
        yield* write(noise(length), room)
        assert.lengthOf(calls.filter((call) => call === "append .png"), appends)
        assert.lengthOf(bytes(), length)
      }
    }))

  it.effect("fills one buffer while the other is written", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { calls, isAppending, room } = makeRoom(Deferred.await(gate))
      let pulled = 0
      const reader = new BytesReader(new Done(verified))
      const image = noise(3 * maxBufferBytes)
      const source = yield* sources.fromStream(
        Stream.range(0, 29).pipe(
          Stream.rechunk(1),
          Stream.map((at) => {
            pulled += 1
            return image.subarray(at * image.length / 30, (at + 1) * image.length / 30)
          })
        )
      )
      const fiber = yield* Effect.fork(writer.write(reader, source, room))
      while (pulled < 20) yield* Effect.yieldNow()
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      // The second buffer is full too: nothing more is pulled until the first is written.
      assert.isTrue(isAppending())
      assert.isAtMost(pulled, 21)
      assert.lengthOf(calls.filter((call) => call === "append .png"), 1)
      yield* Deferred.succeed(gate, void 0)
      assert.strictEqual((yield* Fiber.join(fiber)).bytes, image.length)
      assert.strictEqual(pulled, 30)
    }).pipe(Effect.scoped))

  it.effect("creates nothing for an image that is refused in its first buffer, and publishes none that is refused", () =>
    Effect.gen(function*() {
      const small = makeRoom()
      assert.strictEqual(yield* Effect.flip(write(noise(1000), small.room, { end: refused })), refused)
      assert.deepStrictEqual(small.calls, ["reserve"])
      const large = makeRoom()
      assert.strictEqual(yield* Effect.flip(write(noise(2 * maxBufferBytes), large.room, { end: refused })), refused)
      assert.notInclude(large.calls, "publish .png")
      assert.isTrue(isGivenBack(large.memory))
    }))

  it.effect("pulls nothing before the room is reserved", () =>
    Effect.gen(function*() {
      const busy = new Busy({ retryAfter: 1 })
      const { room } = makeRoom(Effect.void, { reserve: busy })
      const source = yield* sources.fromStream(Stream.dieMessage("pulled"))
      assert.strictEqual(
        yield* Effect.flip(writer.write(new BytesReader(new Done(verified)), source, room)),
        busy
      )
    }).pipe(Effect.scoped))

  it.effect("fails with the error of a write before that of the input, and after the input has stopped", () =>
    Effect.gen(function*() {
      const failure = diskError("writeAll", "ENOSPC")
      const { calls, room } = makeRoom(Effect.void, { append: () => Effect.zipRight(yields, Effect.fail(failure)) })
      const source = yield* sources.fromStream(
        Stream.concat(Stream.make(noise(2 * maxBufferBytes)), Stream.fail("cut off"))
      )
      const error = yield* Effect.flip(writer.write(new BytesReader(new Done(verified)), source, room))
      assert.strictEqual(error, failure)
      assert.notInclude(calls, "publish .png")
    }).pipe(Effect.scoped))

  it.effect("waits for a write before it fails with the error of the input", () =>
    Effect.gen(function*() {
      const { isAppending, memory, room } = makeRoom(Effect.repeatN(Effect.yieldNow(), 50))
      for (const end of [Stream.fail("cut off"), Stream.dieMessage("cut off"), Stream.fromEffect(Effect.interrupt)]) {
        const source = yield* sources.fromStream(Stream.concat(Stream.make(noise(maxBufferBytes + 100)), end))
        const exit = yield* Effect.exit(writer.write(new BytesReader(new Done(verified)), source, room))
        assert.isTrue(Exit.isFailure(exit))
        assert.isFalse(isAppending())
        assert.isTrue(isGivenBack(memory))
      }
    }).pipe(Effect.scoped))

  it.effect("has no write running, and holds no buffer, when it ends by an interruption at any step", () =>
    Effect.gen(function*() {
      const image = noise(2.5 * maxBufferBytes)
      const steps = yield* atEachStep((at) =>
        Effect.gen(function*() {
          const { bytes, calls, isAppending, memory, room } = makeRoom(yields)
          let atEnd: { readonly isAppending: boolean; readonly calls: number } | undefined
          const { exit, isReached } = yield* interruptAt(
            at,
            Effect.ensuring(
              write(image, room, { pieceLength: image.length / 2 }),
              // The room is released in the place of the pause.
              Effect.zipRight(
                Effect.sync(() => {
                  atEnd = { isAppending: isAppending(), calls: calls.length }
                }),
                yields
              )
            )
          )
          yield* Effect.repeatN(yields, 5)
          if (Exit.isSuccess(exit)) assert.isTrue(bytes().equals(image))
          if (atEnd !== undefined) {
            assert.deepStrictEqual(atEnd, { isAppending: false, calls: calls.length }, `step ${at}`)
          }
          assert.isTrue(isGivenBack(memory), `step ${at}`)
          return isReached
        })
      )
      assert.isAbove(steps, 100)
    }))

  describe("of a message", () => {
    interface Message {
      readonly image: Verified | undefined
    }
    /** Pushes each byte as a chunk: 0 is text, 1 begins an image, 2 is a buffer of it, 3 discards it. */
    class MessageReader extends BytesReader<Message> {
      override push(chunk: Uint8Array): Step<typeof refused> {
        switch (chunk[0]) {
          case 1:
            return "image"
          case 2:
            return super.push(noise(maxBufferBytes))
          case 3:
            return "discard"
          default:
            return "more"
        }
      }
    }
    const run = (codes: ReadonlyArray<number>, image: Verified | undefined, replace: Partial<Room> = {}) =>
      Effect.gen(function*() {
        const { calls, memory, room } = makeRoom(yields, replace)
        const source = yield* sources.fromStream(
          Stream.fromIterable(codes.map((code) => Uint8Array.of(code))).pipe(Stream.rechunk(2))
        )
        const result = yield* Effect.either(writer.writeMessage(new MessageReader(new Done({ image })), source, room))
        return { calls, result, memory }
      }).pipe(Effect.scoped)

    it.effect("reserves room when the image begins, and publishes it at the end of the message", () =>
      Effect.gen(function*() {
        const { calls, result } = yield* run([0, 1, 2, 2, 0, 0], verified)
        assert.deepStrictEqual(calls, ["reserve", "append .png", "publish .png"])
        assert.deepInclude(result, {
          right: {
            message: { image: verified },
            written: { ...verified, ...published, bytes: 2 * maxBufferBytes }
          }
        })
      }))

    it.effect("reserves and publishes nothing where there is no image", () =>
      Effect.gen(function*() {
        const { calls, result } = yield* run([0, 0], undefined)
        assert.deepStrictEqual(calls, [])
        assert.deepInclude(result, { right: { message: { image: undefined }, written: undefined } })
      }))

    it.effect("discards an image that is refused, and reads the message on", () =>
      Effect.gen(function*() {
        const { calls, memory } = yield* run([1, 2, 2, 3, 0], undefined)
        assert.deepStrictEqual(calls, ["reserve", "append .png", "discard"])
        assert.isTrue(isGivenBack(memory))
      }))

    it.effect("fails with the error of the reservation", () =>
      Effect.gen(function*() {
        const busy = new Busy({ retryAfter: 1 })
        const { calls, result } = yield* run([0, 1, 2], verified, { reserve: busy })
        assert.deepInclude(result, { left: busy })
        assert.deepStrictEqual(calls, [])
      }))
  })
})
