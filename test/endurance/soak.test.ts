import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { randomInt } from "node:crypto"
import { imagesIn } from "../integration/server/testServer.js"
import { list, makeDirectory } from "../utils/directory.js"
import { eventually } from "../utils/webSocketClient.js"
import { forCase } from "./random.js"
import * as messages from "./soak/messages.js"
import * as Server from "./soak/server.js"
import * as sessions from "./soak/sessions.js"

const mebibyte = 1024 * 1024

const numberFrom = (name: string): number | undefined => {
  const text = process.env[name]
  if (text === undefined || text === "") return undefined
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} must be a whole number`)
  return value
}

/** `SOAK_SEED` repeats the actions of the clients, but not the order in which the server receives them. */
const seed = numberFrom("SOAK_SEED") ?? randomInt(2 ** 32)
const standard = 10_000
const count = numberFrom("SOAK_SESSIONS") ?? standard
const atOnce = 50

/** Memory is compared after this part and after the last session: by then caches and pools have been filled. */
const firstPart = Math.round(count * 0.4)

/** Less than the second part would leak if each session leaked one image. */
const maxHeapGrowth = 8 * mebibyte
const maxResidentGrowth = 60 * mebibyte

const expected = ["stream", "post"].flatMap((kind) =>
  ["image", "busy", "refused", "vanished"].map((became) => `${kind}: ${became}`)
).concat("stream: wrong frame")

const noTimeout = 0

/** Sessions between two progress reports. */
const reportEvery = 1000

describe("a server under sustained load", () => {
  it.scopedLive(
    `leaks no file, descriptor, socket, fiber or memory in ${count} sessions`,
    () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        // Limits at which some sessions wait and some are refused.
        const server = yield* Server.start(directory, {
          INIT_IMAGE_MAX_BYTES: String(messages.maxBytes),
          INIT_IMAGE_MAX_BYTES_IN_FLIGHT: String(4 * messages.maxBytes),
          INIT_IMAGE_MAX_FILES_KEPT: "4"
        })
        const pictures = Array.from(
          { length: 300 },
          (_, index) => messages.makePicture(forCase(seed, "picture", index))
        )
        let done = 0
        const outcomes = new Map(expected.map((outcome) => [outcome, 0]))

        const soak = (from: number, to: number) =>
          Effect.forEach(
            Array.from({ length: to - from }, (_, index) => from + index),
            (index) =>
              sessions.run(server.port, forCase(seed, "session", index), pictures).pipe(
                Effect.map((outcome) => {
                  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
                  if (++done % reportEvery === 0) process.stdout.write(`soak: ${done} of ${count} sessions\n`)
                }),
                Effect.catchAllDefect((defect) => Effect.die(new Error(`session ${index}`, { cause: defect })))
              ),
            { concurrency: atOnce, discard: true }
          )
        const openThere = () => server.descriptors().filter((name) => name.startsWith(directory))
        /** Measures after every client has disconnected, including clients that sent no close frame. */
        const settled = Effect.fnUntraced(function*(start?: Server.Usage) {
          yield* eventually(() => assert.deepStrictEqual(imagesIn(directory), []))
          yield* eventually(() => assert.deepStrictEqual(openThere(), []))
          let usage = yield* server.usage
          for (let tries = 0; tries < 300 && start !== undefined; tries++) {
            if (usage.fibers <= start.fibers && usage.sockets <= start.sockets) break
            yield* Effect.sleep("100 millis")
            usage = yield* server.usage
          }
          return usage
        })

        const start = yield* settled()
        yield* soak(0, firstPart)
        const early = yield* settled(start)
        yield* soak(firstPart, count)
        const end = yield* settled(start)
        const summary = Array.from(outcomes, ([outcome, times]) => `${outcome} ${times}`).join(", ")
        process.stdout.write(`soak: seed ${seed}, ${count} sessions: ${summary}\n`)
        for (const [when, { fibers, heap, resident, sockets }] of Object.entries({ start, early, end })) {
          process.stdout.write(
            `soak: ${when}: ${fibers} fibers, ${sockets} sockets, heap ${(heap / mebibyte).toFixed(1)} MiB, ` +
              `resident ${(resident / mebibyte).toFixed(0)} MiB\n`
          )
        }

        assert.strictEqual(end.fibers, start.fibers, "fibers")
        assert.strictEqual(end.sockets, start.sockets, "sockets")
        assert.isBelow(end.heap - early.heap, maxHeapGrowth, "heap")
        assert.isBelow(end.resident - early.resident, maxResidentGrowth, "resident memory")
        if (count >= standard) {
          assert.deepStrictEqual([...outcomes].filter(([, times]) => times === 0), [], "every outcome occurs")
        }
        assert.strictEqual(yield* server.stop(), "0")
        assert.deepStrictEqual(list(directory), [])
        assert.strictEqual(server.said(), "")
      }).pipe(
        Effect.catchAllDefect((defect) => Effect.die(new Error(`seed ${seed}`, { cause: defect }))),
        Effect.provide(NodeContext.layer)
      ),
    noTimeout
  )
})
