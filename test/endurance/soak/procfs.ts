/** What Linux knows of a process. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"

const field = (pid: number, file: string, pattern: RegExp): number => {
  const value = pattern.exec(readFileSync(`/proc/${pid}/${file}`, "utf8"))?.[1]
  if (value === undefined) throw new Error(`no ${pattern.source} in ${file}`)
  return Number(value)
}

/** How much memory it has now, in bytes. */
export const residentBytes = (pid: number): number => field(pid, "status", /^VmRSS:\s+(\d+) kB$/m) * 1024

/** The most memory that it ever had, in bytes. */
export const peakBytes = (pid: number): number => field(pid, "status", /^VmHWM:\s+(\d+) kB$/m) * 1024

/** How much it has read so far from files, pipes and sockets, in bytes. */
export const bytesRead = (pid: number): number => field(pid, "io", /^rchar: (\d+)$/m)

/** What its descriptors are open on: paths, and names such as `socket:[4711]`. */
export const descriptors = (pid: number): ReadonlyArray<string> =>
  readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${descriptor}`)]
    } catch {
      // Closed since it was listed.
      return []
    }
  })
