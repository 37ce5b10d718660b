/**
 * Preloaded into a server that is measured, which knows nothing of it: tells for how long its event loop ran at the most
 * before it came back to a timer of 1 ms, in milliseconds, since that was last asked.
 *
 * Of processor time, by the kernel's count for the thread (Linux only): the client takes a core of the two, and the rest
 * of what a timer is late by is the wait for one (10 ms without a single instruction run).
 */
import { readFileSync } from "node:fs"

const ran = (): number => Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6

let last = ran()
let longest = 0
setInterval(() => {
  const now = ran()
  longest = Math.max(longest, now - last)
  last = now
}, 1).unref()

process.on("message", () => {
  process.send?.(longest)
  longest = 0
})
// Whoever asks does not keep the server alive.
process.channel?.unref()
