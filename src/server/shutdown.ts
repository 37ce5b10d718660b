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

/** Names a directory that is removed with the process if its owner's scope does not close in time. */
export class OwnDirectory extends Context.Reference<OwnDirectory>()("session-init-image/server/OwnDirectory", {
  defaultValue: (): (directory: string) => void => constVoid
}) {}

/** Shorter than the 10 seconds after which most supervisors kill a process. */
const defaultDeadline: Duration.DurationInput = "5 seconds"

/**
 * Runs a layer until SIGINT or SIGTERM. Its scope then has the time of the deadline to close. Further signals change
 * nothing: the default action of a second one would end the process at once, with its files.
 */
export const run = <A, E>(layer: Layer.Layer<A, E>, deadline: Duration.DurationInput = defaultDeadline): void => {
  const directories: Array<string> = []
  const end = () => {
    for (const directory of directories) rmSync(directory, { recursive: true, force: true })
    process.exit(1)
  }
  let timer: NodeJS.Timeout | undefined
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => timer ??= setTimeout(end, Duration.toMillis(deadline)).unref())
  }
  NodeRuntime.runMain(
    Layer.launch(layer).pipe(Effect.provideService(OwnDirectory, (directory) => void directories.push(directory)))
  )
}
