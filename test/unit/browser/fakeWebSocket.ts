/** A browser's WebSocket; the test is the server. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { WebSocketLike } from "../../../src/browser/promise.js"
import { eventually } from "../../utils/webSocketClient.js"

type Listener = (event: { readonly data: unknown; readonly code: number; readonly reason: string }) => void

export class FakeWebSocket implements WebSocketLike {
  readyState = 1
  readonly texts: Array<unknown> = []
  readonly frames: Array<Uint8Array> = []
  readonly closed: Array<number | undefined> = []
  private readonly listeners: Array<readonly [string, Listener]> = []

  addEventListener(type: string, listener: Listener) {
    this.listeners.push([type, listener])
  }

  send(data: string | ArrayBuffer) {
    assert.strictEqual(this.readyState, 1, "sent on a socket that is not open")
    if (typeof data === "string") this.texts.push(JSON.parse(data))
    else this.frames.push(new Uint8Array(data))
  }

  close(code?: number) {
    this.closed.push(code)
    this.readyState = 2
  }

  listensTo(type: string): boolean {
    return this.listeners.some(([listened]) => listened === type)
  }

  private emit(type: string, event: { readonly data?: unknown; readonly code?: number; readonly reason?: string }) {
    for (const [listened, listener] of this.listeners) {
      if (listened === type) listener({ data: undefined, code: 1006, reason: "", ...event })
    }
  }

  open() {
    this.readyState = 1
    this.emit("open", {})
  }

  receive(...messages: ReadonlyArray<unknown>) {
    for (const message of messages) this.emit("message", { data: JSON.stringify(message) })
  }

  receiveRaw(data: unknown) {
    this.emit("message", { data })
  }

  end(code: number, reason = "") {
    this.readyState = 3
    this.emit("close", { code, reason })
  }

  get sentBytes(): number {
    return this.frames.reduce((sum, frame) => sum + frame.length, 0)
  }

  /** Waits until exactly this many text frames and bytes have been sent. */
  readonly until = (texts: number, bytes: number) =>
    Effect.zipRight(
      eventually(() => assert.isTrue(this.texts.length >= texts && this.sentBytes >= bytes)),
      Effect.map(Effect.sleep("10 millis"), () => {
        assert.lengthOf(this.texts, texts)
        assert.strictEqual(this.sentBytes, bytes)
      })
    )
}
