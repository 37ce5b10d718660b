/**
 * State that is one for the whole process: memory, the event loop, the disk and the entropy source are. `globalValue`
 * keeps it one also where two copies of this package are installed.
 */
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import { DecodePacer, TurnQueue } from "./eventLoop.js"
import { BufferPool } from "./persist/bufferPool.js"
import { RandomNames } from "./persist/randomNames.js"
import { HeartbeatThread } from "./spool/heartbeatThread.js"

/** Files that are waiting to be removed at a time, each in a fiber. */
const maxRemovals = 256

const shared = globalValue(Symbol.for("session-init-image/process/1"), () => ({
  buffers: new BufferPool(),
  decodePacer: new DecodePacer(),
  drains: new TurnQueue(),
  heartbeatThread: new HeartbeatThread(),
  /** The messages of all WebSocket sessions. */
  messages: new TurnQueue(),
  randomNames: new RandomNames(),
  removals: Effect.unsafeMakeSemaphore(maxRemovals)
}))

export const { buffers, decodePacer, drains, heartbeatThread, messages, randomNames, removals } = shared
