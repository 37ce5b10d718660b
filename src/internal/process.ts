/**
 * State that is one for the whole process: memory, the event loop and the entropy source are. `globalValue` keeps it one
 * also where two copies of this package are installed.
 */
import { globalValue } from "effect/GlobalValue"
import { DecodePacer, DrainQueue } from "./eventLoop.js"
import { BufferPool } from "./persist/bufferPool.js"
import { RandomNames } from "./persist/randomNames.js"
import { HeartbeatThread } from "./spool/heartbeatThread.js"

const shared = globalValue(Symbol.for("session-init-image/process/1"), () => ({
  buffers: new BufferPool(),
  decodePacer: new DecodePacer(),
  drains: new DrainQueue(),
  heartbeatThread: new HeartbeatThread(),
  randomNames: new RandomNames()
}))

export const { buffers, decodePacer, drains, heartbeatThread, randomNames } = shared
