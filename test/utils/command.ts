import { execFile, type ExecFileOptions } from "node:child_process"

/** The result of a program; `status` is `null` where a signal ended it. */
export interface Result {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program to its end. Not synchronously: vitest gives up a worker that does not answer for a minute.
 */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: ExecFileOptions = {}
): Promise<Result> =>
  new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { maxBuffer: 64 * 1024 * 1024, ...options, encoding: "utf8" },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code === "string") reject(error)
        else resolve({ status: child.exitCode, stdout, stderr })
      }
    )
  })
