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

/** `SOAK_SEED` repeats what the clients do, though not the order in which the server gets to hear of it. */
const seed = numberFrom("SOAK_SEED") ?? randomInt(2 ** 32)
const standard = 10_000
const count = numberFrom("SOAK_SESSIONS") ?? standard
const atOnce = 50

/** Memory is compared between two points, at the first of which all that is made once and kept has been made. */
const firstPart = Math.round(count * 0.4)

/** Much less than what one image of each session of the second part would take. */
const maxHeapGrowth = 8 * mebibyte
const maxResidentGrowth = 60 * mebibyte

const expected = ["stream", "post"].flatMap((kind) =>
  ["image", "busy", "refused", "vanished"].map((became) => `${kind}: ${became}`)
).concat("stream: wrong frame")

describe("a long life of a server", () => {
  it.scopedLive(
    `leaves no file, descriptor, socket or fiber behind after ${count} sessions, and its memory flat`,
    () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        // So tight that some wait and some are refused.
        const server = yield* Server.start(directory, {
          INIT_IMAGE_MAX_BYTES: String(messages.maxBytes),
          INIT_IMAGE_MAX_BYTES_IN_FLIGHT: String(4 * messages.maxBytes),
          INIT_IMAGE_MAX_FILES_KEPT: "4"
        })
        const pictures = Array.from(
          { length: 300 },
          (_, index) => messages.makePicture(forCase(seed, "picture", index))
        )
        const outcomes = new Map(expected.map((outcome) => [outcome, 0]))

        const soak = (from: number, to: number) =>
          Effect.forEach(
            Array.from({ length: to - from }, (_, index) => from + index),
            (index) =>
              sessions.run(server.port, forCase(seed, "session", index), pictures).pipe(
                Effect.map((became) => void outcomes.set(became, (outcomes.get(became) ?? 0) + 1)),
                Effect.catchAllDefect((defect) => Effect.die(new Error(`session ${index}`, { cause: defect })))
              ),
            { concurrency: atOnce, discard: true }
          )
        const openThere = () => server.descriptors().filter((name) => name.startsWith(directory))
        /** Once nothing is left of the clients, of whom the last may have gone without a word. */
        const settled = Effect.fnUntraced(function*(start?: Server.Usage) {
          yield* eventually(() => assert.deepStrictEqual(imagesIn(directory), []))
          yield* eventually(() => assert.deepStrictEqual(openThere(), []))
          let usage = yield* server.usage
          for (let tries = 0; tries < 50 && start !== undefined; tries++) {
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
        const said = Array.from(outcomes, ([outcome, times]) => `${outcome} ${times}`).join(", ")
        process.stdout.write(`soak: seed ${seed}, ${count} sessions: ${said}\n`)
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
          assert.deepStrictEqual([...outcomes].filter(([, times]) => times === 0), [], "every outcome has been met")
        }
        assert.strictEqual(yield* server.stop, "0")
        assert.deepStrictEqual(list(directory), [])
        assert.strictEqual(server.said(), "")
      }).pipe(
        Effect.catchAllDefect((defect) => Effect.die(new Error(`seed ${seed}`, { cause: defect }))),
        Effect.provide(NodeContext.layer)
      ),
    Math.max(120_000, count * 20)
  )
})
