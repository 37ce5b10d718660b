/**
 * Beats for the spools of this process from a thread, because a blocked event loop beats too late: a neighbour that shares
 * the parent directory would take the process for dead and remove its files.
 *
 * The thread changes only modification times. It stops with the process, also when that is suspended. Without threads,
 * the beats of the event loop remain.
 */
import { Worker } from "node:worker_threads"

/** The path of a heartbeat, and the milliseconds between two beats. A message without them ends the beats. */
interface Message {
  readonly id: number
  readonly path?: string
  readonly interval?: number
}

/**
 * The thread's code, as text so that a bundle of the package contains it. `lutimes` changes no file behind a symbolic
 * link. A missing heartbeat is the event loop's to replace.
 */
const source = `
const { lutimesSync } = require("node:fs")
const timers = new Map()
require("node:worker_threads").parentPort.on("message", ({ id, path, interval }) => {
  clearInterval(timers.get(id))
  timers.delete(id)
  if (path === undefined) return
  timers.set(id, setInterval(() => {
    const now = Date.now() / 1000
    try {
      lutimesSync(path, now, now)
    } catch {}
  }, interval))
})
`

/** The heartbeats that one thread beats; it runs as long as there are any. */
export class HeartbeatThread {
  readonly #paths = new Map<number, string>()
  #nextId = 0
  #worker: Worker | undefined

  /** An id for the beats of one spool. */
  makeId(): number {
    return this.#nextId++
  }

  /** Beats `path` every `interval` milliseconds from now on, in the place of the id's last path. */
  start(id: number, path: string, interval: number): void {
    if (this.#paths.get(id) === path) return
    this.#paths.set(id, path)
    this.#post({ id, path, interval })
  }

  /** Ends the beats of an id. */
  stop(id: number): void {
    if (!this.#paths.delete(id)) return
    if (this.#paths.size > 0) return this.#post({ id })
    void this.#worker?.terminate()
    this.#worker = undefined
  }

  #post(message: Message): void {
    this.#worker ??= makeWorker()
    this.#worker?.postMessage(message)
  }
}

/** `undefined` where the runtime starts no thread, as under node's permission model. */
const makeWorker = (): Worker | undefined => {
  try {
    // No `execArgv` or environment of the process: a loader or a debugger there would start in the thread too.
    const worker = new Worker(source, { eval: true, execArgv: [], env: {}, name: "session-init-image heartbeat" })
    // A thread that fails, for lack of memory, leaves the beats to the event loop.
    worker.on("error", () => {})
    worker.unref()
    return worker
  } catch {
    return undefined
  }
}
