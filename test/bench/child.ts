/** Runs the task named on the command line and sends its result to the parent process. */
import * as client from "./tasks/client.js"
import * as concurrent from "./tasks/concurrent.js"
import * as cpu from "./tasks/cpu.js"
import * as memory from "./tasks/memory.js"
import * as refusals from "./tasks/refusals.js"
import * as small from "./tasks/small.js"
import * as socket from "./tasks/socket.js"

const tasks = {
  memory: memory.run,
  concurrent: concurrent.run,
  refusals: refusals.run,
  requests: client.runRequests,
  growth: client.runGrowth,
  cpu: cpu.runCpu,
  upload: cpu.runUpload,
  small: small.run,
  socketBinary: socket.runBinary,
  socketText: socket.runText
}

export type Tasks = typeof tasks

const [, , name, options] = process.argv
// `inChild.ts`, which starts this process, checks the name and the options.
const run = tasks[name as keyof Tasks] as (options: unknown) => Promise<unknown>
process.send?.(await run(JSON.parse(options ?? "{}")), () => process.disconnect())
