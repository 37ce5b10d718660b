/**
 * Preloaded into a measured server: answers questions about its process over IPC, in milliseconds. The server does not
 * know of it.
 */
import { readFileSync } from "node:fs"

export type Question = "cpu time" | "longest turn"

/** CPU time of the whole process, all threads. */
const cpuTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1000
}

/**
 * The longest run of the event loop between two turns of a 1 ms timer, since the last call. The first call starts the
 * timer, so that it costs nothing while only CPU time is measured.
 *
 * Counted in CPU time of the thread (Linux only): the client takes one of two cores, and the wait for a core would
 * otherwise count as a turn of up to 10 ms.
 */
const makeLongestTurn = () => {
  const threadTime = (): number => Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6
  let last = threadTime()
  let longest = 0
  setInterval(() => {
    const now = threadTime()
    longest = Math.max(longest, now - last)
    last = now
  }, 1).unref()
  return (): number => {
    const answer = longest
    longest = 0
    return answer
  }
}

let longestTurn: (() => number) | undefined

const answers: Readonly<Record<Question, () => number>> = {
  "cpu time": cpuTime,
  "longest turn": () => {
    longestTurn ??= makeLongestTurn()
    return longestTurn()
  }
}

process.on("message", (question) => {
  // `servers.ts` sends only questions.
  process.send?.(answers[question as Question]())
})
// A server ends with the process that started it, even if that was killed.
process.once("disconnect", () => process.exit())
// The channel does not keep the server alive.
process.channel?.unref()
