/** Measures `GET /healthz` beside an attack, from a thread of its own: the attack keeps this one busy. */
import * as Effect from "effect/Effect"
import { once } from "node:events"
import { Worker } from "node:worker_threads"

/** In milliseconds. */
export interface Health {
  readonly p99: number
  readonly worst: number
  /** Requests without an answer, or with one of 500 or more. */
  readonly failed: number
}

const program = `
  const http = require("node:http")
  const { parentPort, workerData: { port, stop } } = require("node:worker_threads")
  const agent = new http.Agent({ keepAlive: true })
  const times = []
  let failed = 0
  const ask = () => new Promise((resolve) => {
    const since = performance.now()
    const done = (ok) => {
      times.push(performance.now() - since)
      if (!ok) failed += 1
      resolve()
    }
    http.get({ port, host: "127.0.0.1", path: "/healthz", agent }, (response) => {
      response.resume().once("end", () => done(response.statusCode < 500))
    }).once("error", () => done(false))
  })
  const run = async () => {
    await ask()
    times.length = 0
    parentPort.postMessage("ready")
    while (stop[0] === 0) {
      await ask()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    agent.destroy()
    times.sort((a, b) => a - b)
    parentPort.postMessage({ p99: times[Math.floor(times.length * 0.99)] ?? 0, worst: times.at(-1) ?? 0, failed })
  }
  run()
`

/** Runs an effect, and measures the server's health until it ends. */
export const beside = <A, E, R>(port: number, attack: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const stop = new Int32Array(new SharedArrayBuffer(4))
    const worker = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const worker = new Worker(program, { eval: true, workerData: { port, stop } })
        await once(worker, "message")
        return worker
      }),
      (worker) => Effect.promise(() => worker.terminate())
    )
    const result = yield* attack
    const health = yield* Effect.promise(async () => {
      const answered = once(worker, "message")
      stop[0] = 1
      const [health] = await answered
      // The worker sends nothing else.
      return health as Health
    })
    return { result, health }
  }).pipe(Effect.scoped)
