/** Hostile frames and messages on open WebSockets (RFC 6455 section 5). */
import { Buffer } from "node:buffer"
import { png } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { encodeFrame } from "../../utils/webSocketClient.js"
import * as mutations from "../mutations.js"
import * as payloads from "../payloads.js"
import type { Random } from "../random.js"
import { type Attack, barrage, closeFrame, connectSockets, hasReceived, opening } from "./attack.js"
import { connectMany, destroyAll, expectClosed, head, pause, sessionPath, statusesOf, until } from "./client.js"

const mebibyte = 1024 * 1024

const image = png()

/** A frame with a mask of zeros and any first byte. */
const frame = (first: number, body: Uint8Array | string = ""): Buffer => {
  const encoded = encodeFrame(body)
  encoded[0] = first
  return encoded
}

const repeat = (count: number, frameOf: (i: number) => Uint8Array): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => frameOf(i)))

const text = (message: unknown): Buffer => encodeFrame(JSON.stringify(message))
const update = (payload: unknown) => ({ type: "init_image_updated", initial_image: payload })

/** Marks the end of a barrage, as messages are answered in order. */
const last = text({ type: "last" })
const lastAnswer = "type must be"

export const frameHeader = (bytes: number): Buffer => {
  const header = Buffer.alloc(14)
  header.writeUInt16BE(0x81ff)
  header.writeBigUInt64BE(BigInt(bytes), 2)
  return header
}

const brokenFrames = [
  // Not masked
  Buffer.of(0x81, 1, 0x61),
  // Reserved bits and opcodes
  frame(0xc1, "a"),
  frame(0xb1, "a"),
  frame(0x83),
  frame(0x87),
  frame(0x8b),
  frame(0x8f),
  // Control frames in fragments, or too long
  frame(0x09),
  frame(0x89, "a".repeat(126)),
  // A continuation without a message, a message within a message
  frame(0x80, "a"),
  Buffer.concat([frame(0x01, "a"), frame(0x81, "b")]),
  // A length above 2 ** 53
  Buffer.concat([Buffer.of(0x81, 0xff), Buffer.alloc(8, 0xff), Buffer.alloc(4)])
]

const notUtf8 = [[0xc3], [0xff], [0xed, 0xa0, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0xc0, 0x80]]
const closeBodies = [[], [0x03], [0, 0], [0x03, 0xed], [0xff, 0xff], [0x03, 0xe8, 0xff]]

/** An announcement of 100 bytes, and other bytes behind it. */
const announced = (random: Random): Buffer => {
  const count = random.pick([0, 50, 99, 101, 1000])
  return Buffer.concat([
    text(update({ mime: "image/png", bytes: random.pick([100, -1, 0.5, 1e300]) })),
    encodeFrame(new Uint8Array(count), "binary")
  ])
}

export const attacks: ReadonlyArray<Attack> = [
  barrage({
    title: "64 KB of seven-byte frames on each of 20 sockets",
    frames: 9000,
    bytes: () => repeat(9000, () => encodeFrame("\"")),
    answer: closeFrame(1008)
  }),
  barrage({
    title: "bursts of updates without an image",
    count: 4,
    frames: 500,
    bytes: () => Buffer.concat([repeat(500, () => text(update(null))), last]),
    answer: lastAnswer
  }),
  barrage({
    title: "frames that break the protocol",
    count: 60,
    bytes: (_, i) => brokenFrames[i % brokenFrames.length] ?? last,
    answer: new RegExp([1002, 1007, 1009].map(closeFrame).join("|"))
  }),
  barrage({
    title: "texts that are not UTF-8",
    bytes: (random) => encodeFrame(Uint8Array.from(random.pick(notUtf8))),
    answer: closeFrame(1007)
  }),
  barrage({
    title: "messages in 10,000 fragments of a byte and of none",
    count: 4,
    frames: 10_000,
    bytes: (_, i) =>
      Buffer.concat([
        frame(0x01, "\""),
        repeat(9998, () => frame(0x00, i % 2 === 0 ? " " : "")),
        frame(0x80, "\""),
        last
      ]),
    answer: lastAnswer
  }),
  barrage({
    title: "10,000 pings and pongs",
    count: 4,
    frames: 10_000,
    bytes: () => Buffer.concat([repeat(10_000, (i) => frame(i % 2 === 0 ? 0x89 : 0x8a, "x".repeat(i % 100))), last]),
    // `ws` ends a connection with 60 pongs that have not been sent.
    mayEnd: true,
    answer: lastAnswer
  }),
  barrage({
    title: "10,000 pings in JSON",
    count: 4,
    frames: 10_000,
    bytes: () => Buffer.concat([repeat(10_000, () => text({ type: "ping" })), last]),
    answer: lastAnswer
  }),
  barrage({
    title: "close frames with a broken code",
    count: 60,
    bytes: (_, i) => Buffer.concat([frame(0x88, Uint8Array.from(closeBodies[i % closeBodies.length] ?? [])), last]),
    answer: "\x88"
  }),
  barrage({
    title: "binary frames that nothing announces",
    frames: 40,
    bytes: (random) =>
      Buffer.concat([repeat(40, () => encodeFrame(new Uint8Array(random.below(2000)), "binary")), last]),
    answer: lastAnswer
  }),
  barrage({
    title: "announced images with a wrong number of bytes",
    frames: 40,
    bytes: (random) => Buffer.concat([repeat(20, () => announced(random)), last]),
    answer: lastAnswer
  }),
  barrage({
    title: "announced images in frames of one byte",
    count: 10,
    frames: image.length * 10,
    bytes: () =>
      Buffer.concat([
        repeat(10, () =>
          Buffer.concat([
            text(update({ mime: "image/png", bytes: image.length })),
            repeat(image.length, (i) => encodeFrame(image.subarray(i, i + 1), "binary"))
          ])),
        last
      ]),
    answer: lastAnswer
  }),
  barrage({
    title: "images that are refused, 50 in a row",
    frames: 50,
    bytes: (random) =>
      Buffer.concat([
        repeat(50, () => text(update({ mime: "image/png", data: mutations.text(random, "iVBORw0KGgo=") }))),
        last
      ]),
    answer: new RegExp(`${lastAnswer}|${closeFrame(1008)}`)
  }),
  barrage({
    title: "mutated updates",
    count: 40,
    frames: 30,
    bytes: (random) =>
      Buffer.concat([repeat(30, () => encodeFrame(payloads.message(random, ["initial_image"]))), last]),
    answer: new RegExp(`${lastAnswer}|\x88\x02`)
  }),
  barrage({
    title: "mutated openings",
    count: 200,
    first: new Uint8Array(),
    bytes: (random) =>
      encodeFrame(
        Buffer.from(
          JSON.stringify({ type: "session_init_v2", initial_image: payloads.of(random, mutations.image(random)) })
        )
      ),
    answer: /session_init_image|"type":"error"/
  }),
  barrage({
    title: "images that replace each other 100 times",
    count: 10,
    frames: 100,
    bytes: () => Buffer.concat([repeat(100, () => text(update(payloadOf("image/png", image)))), last]),
    answer: lastAnswer
  }),
  {
    title: "unfinished frames of 95 MiB",
    referenceOnly: true,
    run: async (target) => {
      const clients = await connectSockets(target, 12)
      for (const { socket } of clients) socket.write(frameHeader(95 * mebibyte))
      await until(() => clients.every(hasReceived("too_large")), "a refusal")
      await expectClosed(clients, 5000)
      return clients.length
    }
  },
  {
    title: "sockets that are reset while an image arrives",
    referenceOnly: true,
    run: async (target) => {
      const clients = await connectSockets(
        target,
        60,
        Buffer.concat([opening, text(update({ mime: "image/png", bytes: 2_000_000 }))])
      )
      await until(() => clients.every(hasReceived("init_image_progress")), "progress")
      for (const { socket } of clients) {
        socket.write(Buffer.concat([encodeFrame(image, "binary"), encodeFrame(new Uint8Array(5000), "binary")]))
        await pause(5)
        socket.resetAndDestroy()
      }
      return clients.length * 3
    }
  },
  {
    title: "answers that nobody reads",
    referenceOnly: true,
    run: async (target) => {
      const clients = await connectSockets(target, 4)
      await until(() => clients.every(hasReceived("session_init_image")), "a session")
      const flood = repeat(15_000, () => text({ type: "ping" }))
      for (const { socket } of clients) {
        socket.pause()
        socket.write(flood)
        await pause(flood.length / 1000)
      }
      destroyAll(clients)
      return 60_000
    }
  },
  {
    title: "sockets that share a session and leave",
    referenceOnly: true,
    run: async (target) => {
      const first = text({ type: "session_init_v2", initial_image: payloadOf("image/png", image) })
      const clients = await connectSockets({ ...target, stream: `${target.stream}?session_id=shared` }, 100, first)
      await until(() => clients.every(hasReceived("session_init_image")), "a session")
      destroyAll(clients.slice(0, -1))
      await pause(300)
      const readers = await connectMany(target.port, 1)
      for (const { socket } of readers) socket.write(head("GET", sessionPath("shared")))
      await until(() => readers.every((reader) => statusesOf(reader).length > 0), "an answer")
      const found = readers.flatMap(statusesOf).join()
      destroyAll([...readers, ...clients])
      if (found !== "200") throw new Error("the live socket's image is gone")
      return clients.length + 1
    }
  }
]
