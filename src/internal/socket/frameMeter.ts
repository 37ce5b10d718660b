/**
 * Follows the frames of a client (RFC 6455 section 5.2) as their bytes arrive: how much of them is payload, and how large
 * a message that has not arrived becomes. `ws` keeps an unfinished message in memory and reports it when it is complete.
 */

/** A message that has not arrived completely. */
export interface UnfinishedMessage {
  readonly isText: boolean
  /** The payload bytes of its frames so far, as their headers declare them. */
  readonly bytes: number
  /** No further frame belongs to it. */
  readonly isLast: boolean
}

const continuation = 0
const text = 1
/** Opcodes from here on are those of control frames. */
const firstControl = 8

/** The length of a frame's header without the extended length and the mask, in bytes. */
const shortHeader = 2
const maskBytes = 4
const longestHeader = shortHeader + 8 + maskBytes

/** A client masks all of its frames; `ws` refuses the others. */
const headerLength = (secondByte: number): number => {
  const length = secondByte & 0x7f
  return shortHeader + (length === 127 ? 8 : length === 126 ? 2 : 0) + ((secondByte & 0x80) === 0 ? 0 : maskBytes)
}

export class FrameMeter {
  /** Payload bytes of text and binary frames that have arrived. */
  payloadBytes = 0
  /** Messages that have begun to arrive. */
  messageCount = 0
  readonly #header = new Uint8Array(longestHeader)
  readonly #view = new DataView(this.#header.buffer)
  #headerBytes = 0
  /** Of the frame that is arriving. */
  #remaining = 0
  #isControl = false
  #message: UnfinishedMessage | undefined

  /** The message that is arriving, from its first header on. */
  get unfinished(): UnfinishedMessage | undefined {
    return this.#message
  }

  push(chunk: Uint8Array): void {
    for (let offset = 0; offset < chunk.length;) {
      offset += this.#remaining > 0 ? this.#pass(chunk.length - offset) : this.#readHeader(chunk, offset)
    }
  }

  #pass(available: number): number {
    const passed = Math.min(this.#remaining, available)
    this.#remaining -= passed
    if (!this.#isControl) this.payloadBytes += passed
    if (this.#remaining === 0) this.#endFrame()
    return passed
  }

  #readHeader(chunk: Uint8Array, offset: number): number {
    const needed = this.#headerBytes < shortHeader ? shortHeader : headerLength(this.#view.getUint8(1))
    const part = chunk.subarray(offset, offset + needed - this.#headerBytes)
    this.#header.set(part, this.#headerBytes)
    this.#headerBytes += part.length
    if (this.#headerBytes >= shortHeader && this.#headerBytes === headerLength(this.#view.getUint8(1))) {
      this.#headerBytes = 0
      this.#startFrame()
    }
    return part.length
  }

  #startFrame(): void {
    const first = this.#view.getUint8(0)
    const opcode = first & 0x0f
    const length = this.#view.getUint8(1) & 0x7f
    this.#remaining = length === 127
      ? Number(this.#view.getBigUint64(shortHeader))
      : length === 126
      ? this.#view.getUint16(shortHeader)
      : length
    this.#isControl = opcode >= firstControl
    if (!this.#isControl) {
      if (opcode !== continuation) this.messageCount += 1
      this.#message = {
        isText: opcode === continuation ? this.#message?.isText === true : opcode === text,
        bytes: (opcode === continuation ? this.#message?.bytes ?? 0 : 0) + this.#remaining,
        isLast: (first & 0x80) !== 0
      }
    }
    if (this.#remaining === 0) this.#endFrame()
  }

  #endFrame(): void {
    if (!this.#isControl && this.#message?.isLast === true) this.#message = undefined
  }
}
