/** Mounts small file systems. */
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const run = (command: string, ...parameters: ReadonlyArray<string>): void => {
  execFileSync(command, parameters, { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8", timeout: 30_000 })
}

/** Unmounts, lazily if a file is still open. */
const unmount = (directory: string): void => {
  try {
    run("umount", directory)
  } catch {
    run("umount", "-l", directory)
  }
}

/** Detaches the file system from its path; open files stay open. */
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
  // A test may have written to the directory below the mount point.
  rmSync(directory, { recursive: true })
}

/** Mounts a tmpfs until the scope closes, with options of `mount`. */
export const makeTmpfs = (options: string) =>
  Effect.acquireRelease(
    Effect.sync(() => mount(options)),
    (directory) => Effect.sync(() => end(directory))
  )

/** Fails if a file is open for writing. */
export const remount = (directory: string, mode: "ro" | "rw"): void => run("mount", "-o", `remount,${mode}`, directory)

const tryIt = (): string | undefined => {
  try {
    end(mount("size=64k"))
    return undefined
  } catch (error) {
    return String(error)
  }
}

/** The error of a mount on this machine, if it fails. */
export const refusal = tryIt()
