/** Real file systems that are small, for as long as a scope. */
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const run = (command: string, ...parameters: ReadonlyArray<string>): void => {
  execFileSync(command, parameters, { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8", timeout: 30_000 })
}

/** Also where something is still open on it. */
const unmount = (directory: string): void => {
  try {
    run("umount", directory)
  } catch {
    run("umount", "-l", directory)
  }
}

/** From now on the path is that of the empty directory beneath it; what is open stays so. */
export const unmountLazily = (directory: string): void => run("umount", "-l", directory)

const isMounted = (directory: string): boolean => {
  try {
    run("mountpoint", "-q", directory)
    return true
  } catch {
    return false
  }
}

const mount = (options: string): string => {
  const directory = mkdtempSync(join(tmpdir(), "session-init-tmpfs-"))
  try {
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", directory)
    return directory
  } catch (error) {
    rmdirSync(directory)
    throw error
  }
}

const end = (directory: string): void => {
  if (isMounted(directory)) unmount(directory)
  // A test may have gone on beneath it.
  rmSync(directory, { recursive: true })
}

/** A new one; the options are those of `mount`. */
export const makeTmpfs = (options: string) =>
  Effect.acquireRelease(
    Effect.sync(() => mount(options)),
    (directory) => Effect.sync(() => end(directory))
  )

/** Fails where something is open for writing on it. */
export const remount = (directory: string, mode: "ro" | "rw"): void => run("mount", "-o", `remount,${mode}`, directory)

const tryIt = (): string | undefined => {
  try {
    end(mount("size=64k"))
    return undefined
  } catch (error) {
    return String(error)
  }
}

/** Why none can be mounted here, if so. */
export const refusal = tryIt()
