/** The load of `npm run load`, and the bounds that the server keeps under it. */
import { mebibyte } from "./frame.js"

export const clients = 100
/** Connections of each client, made in sequence. */
export const rounds = 5
export const imageBytes = 8 * mebibyte

export const maxBytesInFlight = 64 * mebibyte
export const maxBytesKept = 136 * mebibyte

/** The number of images that fills the bytes in flight. */
export const holders = maxBytesInFlight / imageBytes
/** After this time without a read the server is considered to have stopped reading, in milliseconds. */
export const quiet = 500

export const bounds = {
  /** Peak disk use, in bytes. */
  disk: maxBytesInFlight + maxBytesKept,
  /** Peak memory, in bytes. */
  memory: 400 * mebibyte,
  /** `GET /healthz`, 99th percentile, in milliseconds. */
  healthz: 50,
  /** Bytes read from a waiting client. */
  readWhileWaiting: 256 * 1024
} as const

/** In milliseconds. */
export const healthzInterval = 10
export const diskInterval = 20
