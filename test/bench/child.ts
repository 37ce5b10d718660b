/** Runs one task, named on the command line, in this process, and sends its result to the one that has started it. */
import * as client from "./tasks/client.js"
import * as concurrent from "./tasks/concurrent.js"
import * as memory from "./tasks/memory.js"
import * as refusals from "./tasks/refusals.js"
import * as socket from "./tasks/socket.js"

const tasks = {
  memory: memory.run,
  concurrent: concurrent.run,
  refusals: refusals.run,
  requests: client.runRequests,
  growth: client.runGrowth,
  socketBinary: socket.runBinary,
  socketText: socket.runText
}

export type Tasks = typeof tasks

const [, , name, options] = process.argv
// The process that starts this one is typed by `Tasks`.
const run = tasks[name as keyof Tasks] as (options: unknown) => Promise<unknown>
process.send?.(await run(JSON.parse(options ?? "{}")), () => process.disconnect())
