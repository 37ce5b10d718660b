/** Reads the resources of a process from Linux. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"

const field = (pid: number, file: string, pattern: RegExp): number => {
  const value = pattern.exec(readFileSync(`/proc/${pid}/${file}`, "utf8"))?.[1]
  if (value === undefined) throw new Error(`no ${pattern.source} in ${file}`)
  return Number(value)
}

/** Resident memory in bytes. */
export const residentBytes = (pid: number): number => field(pid, "status", /^VmRSS:\s+(\d+) kB$/m) * 1024

/** Peak resident memory in bytes. */
export const peakBytes = (pid: number): number => field(pid, "status", /^VmHWM:\s+(\d+) kB$/m) * 1024

/** Bytes read from files, pipes and sockets. */
export const bytesRead = (pid: number): number => field(pid, "io", /^rchar: (\d+)$/m)

/** The targets of the open descriptors: paths, and names such as `socket:[4711]`. */
export const descriptors = (pid: number): ReadonlyArray<string> =>
  readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${descriptor}`)]
    } catch {
      // Closed since it was listed.
      return []
    }
  })
