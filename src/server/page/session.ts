/// <reference lib="dom" />
/** A session's id, its picture's URL, and its end. */

/** The URL at which the server serves the session's picture. */
export const imageUrl = (sessionId: string) => `/sessions/${encodeURIComponent(sessionId)}/init-image`

/** `randomUUID` exists in secure contexts only: over TLS or on the loopback address. */
export const makeId = (): string =>
  typeof crypto.randomUUID === "function"
    ? crypto.randomUUID()
    : Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")

/** How long to wait for the closing handshake, in milliseconds. */
const closingTimeout = 2000

/** Waits until the socket is closed. */
export const untilClosed = (socket: WebSocket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.readyState === WebSocket.CLOSED) return resolve()
    socket.addEventListener("close", () => resolve(), { once: true })
    setTimeout(resolve, closingTimeout)
  })

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

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
