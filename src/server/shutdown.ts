/**
 * The end of the process: within a deadline of the first signal, without a file, whatever hangs.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Layer from "effect/Layer"
import { rmSync } from "node:fs"
import { Worker } from "node:worker_threads"

/** Names a directory that is removed with the process if its owner's scope does not close in time. */
export class OwnDirectory extends Context.Reference<OwnDirectory>()("session-init-image/server/OwnDirectory", {
  defaultValue: (): (directory: string) => void => constVoid
}) {}

/** With {@link blockedTime}, half of the 10 seconds after which most supervisors kill a process. */
const defaultDeadline: Duration.DurationInput = "4500 millis"

/** The time behind the deadline after which the event loop counts as blocked, in milliseconds. */
const blockedTime = 500

/** The code of the thread that ends a process whose event loop is blocked, as text so that a bundle contains it. */
const source = `
const { rmSync } = require("node:fs")
const { workerData: { directories, time } } = require("node:worker_threads")
setTimeout(() => {
  try {
    for (const directory of directories) rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
  } finally {
    process.kill(process.pid, "SIGKILL")
  }
}, time)
`

const endFromThread = (directories: ReadonlyArray<string>, time: number): void => {
  try {
    new Worker(source, { eval: true, execArgv: [], env: {}, workerData: { directories, time } })
      .on("error", constVoid)
      .unref()
  } catch {
    // Where the runtime starts no thread, the deadline needs the event loop.
  }
}

/**
 * Runs a layer until SIGINT or SIGTERM. Its scope then has the time of the deadline to close, and half a second more where
 * the event loop is blocked. A signal that arrives during a blocked turn counts from the next turn on. Further signals
 * change nothing: the default action of a second one would end the process at once, with its files.
 */
export const run = <A, E>(layer: Layer.Layer<A, E>, deadline: Duration.DurationInput = defaultDeadline): void => {
  const directories: Array<string> = []
  const end = () => {
    for (const directory of directories) rmSync(directory, { recursive: true, force: true })
    process.exit(1)
  }
  let timer: NodeJS.Timeout | undefined
  const start = () => {
    if (timer !== undefined) return
    const time = Duration.toMillis(deadline)
    timer = setTimeout(end, time).unref()
    endFromThread(directories, time + blockedTime)
  }
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, start)
  NodeRuntime.runMain(
    Layer.launch(layer).pipe(Effect.provideService(OwnDirectory, (directory) => void directories.push(directory)))
  )
}
