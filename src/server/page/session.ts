/// <reference lib="dom" />
/** A session on the server: its id, its socket, its picture's URL, and its end. */
import type { WebSocketLike } from "../../browser/promise.js"

/** The URL at which the server serves the session's picture. */
export const imageUrl = (sessionId: string) => `/sessions/${encodeURIComponent(sessionId)}/init-image`

/** `randomUUID` exists in secure contexts only: over TLS or on the loopback address. */
export const makeId = (): string =>
  typeof crypto.randomUUID === "function"
    ? crypto.randomUUID()
    : Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")

export interface Listeners {
  readonly onOpen: () => void
  readonly onSent: (data: string | ArrayBuffer) => void
  readonly onReceived: (data: unknown) => void
  readonly onClose: (event: CloseEvent) => void
}

export interface Session {
  readonly id: string
  readonly url: URL
  readonly socket: WebSocketLike
  /** Closes the socket, with which the server deletes the picture. Resolves once it is closed. */
  readonly close: () => Promise<void>
}

/** How long to wait for the closing handshake, in milliseconds. */
const closingTimeout = 2000

/** Connects to the server. The listeners see each message before the upload that it belongs to. */
export const connect = (id: string, { onClose, onOpen, onReceived, onSent }: Listeners): Session => {
  const url = new URL(`/v1/stream?session_id=${id}`, location.href)
  url.protocol = url.protocol.replace("http", "ws")
  const socket = new WebSocket(url)
  socket.binaryType = "arraybuffer"
  socket.addEventListener("open", onOpen)
  socket.addEventListener("message", ({ data }) => onReceived(data))
  const closed = new Promise<void>((resolve) =>
    socket.addEventListener("close", (event) => {
      resolve()
      onClose(event)
    })
  )
  return {
    id,
    url,
    socket: {
      get readyState() {
        return socket.readyState
      },
      send: (data) => {
        onSent(data)
        socket.send(data)
      },
      close: (code) => socket.close(code),
      addEventListener: socket.addEventListener.bind(socket)
    },
    close: () => {
      socket.close(1000)
      return Promise.race([closed, sleep(closingTimeout)])
    }
  }
}

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

/** Polls the server for up to two seconds: the server deletes the file after it has closed the connection. */
export const isDeleted = async (sessionId: string): Promise<boolean> => {
  for (let tries = 0; tries < 20; tries++) {
    const response = await fetch(imageUrl(sessionId), { method: "GET", cache: "no-store" })
    await response.body?.cancel()
    if (response.status === 404) return true
    await sleep(100)
  }
  return false
}
