/** How hard the server is hit, and what it must hold to. */
import { mebibyte } from "./frame.js"

export const clients = 100
/** Connections that each client makes, one after the other. */
export const rounds = 5
export const imageBytes = 8 * mebibyte

export const maxBytesInFlight = 64 * mebibyte
export const maxBytesKept = 136 * mebibyte

/** How many images take up all that may be in flight. */
export const holders = maxBytesInFlight / imageBytes
/** For how long the server must read nothing before it is taken to read no more, in milliseconds. */
export const quiet = 500

export const bounds = {
  /** On the disk at any time, in bytes. */
  disk: maxBytesInFlight + maxBytesKept,
  /** Of memory at any time, in bytes. */
  memory: 400 * mebibyte,
  /** Of `GET /healthz` at the 99th percentile, in milliseconds. */
  healthz: 50,
  /** That the server takes from a client that waits, in bytes. */
  readWhileWaiting: 256 * 1024
} as const

/** In milliseconds. */
export const healthzInterval = 10
export const diskInterval = 20
