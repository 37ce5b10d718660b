import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import { FrameMeter } from "../../../../src/internal/socket/frameMeter.js"

interface Frame {
  readonly opcode: number
  readonly isFinal: boolean
  readonly bytes: number
}

const { boolean, constantFrom, nat, oneof, record } = FastCheck

const length = oneof(nat(10), constantFrom(125, 126, 127, 65_535, 65_536, 70_000))
const message: FastCheck.Arbitrary<ReadonlyArray<Frame>> = FastCheck.array(
  record({ bytes: length, isPing: boolean() }),
  {
    minLength: 1,
    maxLength: 4
  }
).chain((parts) =>
  constantFrom(1, 2).map((opcode) =>
    parts.flatMap(({ bytes, isPing }, i) => [
      ...isPing ? [{ opcode: constantOpcode(i), isFinal: true, bytes: bytes % 126 }] : [],
      { opcode: i === 0 ? opcode : 0, isFinal: i === parts.length - 1, bytes }
    ])
  )
)
const constantOpcode = (i: number): number => i % 2 === 0 ? 9 : 10

/** The shortest header that holds the length, as the protocol requires. */
const encode = ({ bytes, isFinal, opcode }: Frame): Buffer => {
  const first = (isFinal ? 0x80 : 0) | opcode
  const extended = Buffer.alloc(8)
  extended.writeBigUInt64BE(BigInt(bytes))
  const header = bytes < 126
    ? [Buffer.of(first, 0x80 | bytes)]
    : bytes < 65_536
    ? [Buffer.of(first, 0xfe), extended.subarray(6)]
    : [Buffer.of(first, 0xff), extended]
  return Buffer.concat([...header, Buffer.of(1, 2, 3, 4), Buffer.alloc(bytes, 0x81)])
}

const isData = ({ opcode }: Frame): boolean => opcode < 8

describe("the frame meter", () => {
  it.prop(
    "counts messages and payload, and knows the unfinished message, whatever the chunks are",
    [FastCheck.array(message, { maxLength: 4 }), nat(20), FastCheck.array(FastCheck.integer({ min: 1, max: 5000 }))],
    ([messages, cut, sizes]) => {
      const meter = new FrameMeter()
      const frames = messages.flat()
      const bytes = Buffer.concat(frames.map(encode))
      const end = Math.max(0, bytes.length - cut)
      for (let offset = 0, i = 0; offset < end; i++) {
        const next = Math.min(end, offset + (sizes[i % sizes.length] ?? end))
        meter.push(bytes.subarray(offset, next))
        offset = next
      }
      if (end < bytes.length) meter.push(bytes.subarray(end))
      assert.strictEqual(meter.messageCount, messages.length)
      assert.strictEqual(meter.payloadBytes, frames.filter(isData).reduce((sum, { bytes }) => sum + bytes, 0))
      assert.isUndefined(meter.unfinished)
    }
  )

  it("knows a message from its first header on, and how large it is by the headers so far", () => {
    const meter = new FrameMeter()
    const fragment = encode({ opcode: 2, isFinal: false, bytes: 300 })
    for (let i = 0; i < 7; i++) {
      meter.push(fragment.subarray(i, i + 1))
      assert.isUndefined(meter.unfinished)
    }
    meter.push(fragment.subarray(7, 8))
    assert.deepStrictEqual(meter.unfinished, { isText: false, bytes: 300, isLast: false })
    meter.push(fragment.subarray(8))
    assert.deepStrictEqual(meter.unfinished, { isText: false, bytes: 300, isLast: false })
    assert.strictEqual(meter.payloadBytes, 300)
    meter.push(encode({ opcode: 9, isFinal: true, bytes: 20 }))
    const last = encode({ opcode: 0, isFinal: true, bytes: 70_000 })
    meter.push(last.subarray(0, -1))
    assert.deepStrictEqual(meter.unfinished, { isText: false, bytes: 70_300, isLast: true })
    assert.strictEqual(meter.payloadBytes, 70_299)
    meter.push(last.subarray(-1))
    assert.isUndefined(meter.unfinished)
    meter.push(encode({ opcode: 1, isFinal: true, bytes: 5 }).subarray(0, 6))
    assert.deepStrictEqual(meter.unfinished, { isText: true, bytes: 5, isLast: true })
  })
})
