/** Installs runtimes from npm, each version once. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const cache = join(tmpdir(), "session-init-image-runtimes")

/** Refuses a cache that another user can write to: its programs would be run. */
const openCache = (): void => {
  mkdirSync(cache, { recursive: true, mode: 0o700 })
  const { mode, uid } = statSync(cache)
  const isShared = (mode & 0o022) !== 0 && process.platform !== "win32"
  if (isShared || uid !== (process.getuid?.() ?? uid)) throw new Error(`${cache} is writable by another user`)
}

const npm = (parameters: ReadonlyArray<string>, cwd: string): void => {
  const { error, status, stderr } = spawnSync("npm", parameters, {
    cwd,
    encoding: "utf8",
    shell: process.platform === "win32"
  })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`npm ${parameters.join(" ")}\n${stderr}`)
}

/** Installs a package without its peers, and returns the folder that holds its `node_modules`. */
export const install = (name: string, version: string): string => {
  openCache()
  const directory = join(cache, `${name.replace("/", "+")}@${version}`)
  if (existsSync(directory)) return directory
  // The rename publishes a complete installation; an interrupted one stays invisible.
  const unfinished = mkdtempSync(join(cache, "unfinished-"))
  try {
    const plain = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--legacy-peer-deps"]
    npm(["install", "--prefix", unfinished, ...plain, `${name}@${version}`], unfinished)
    renameSync(unfinished, directory)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    if (!existsSync(directory)) throw error
  }
  return directory
}

/** The only path below `directory` that matches the pattern, in which `*` is one name. */
export const locate = (directory: string, pattern: string): string => {
  const found = pattern.split("/").reduce<ReadonlyArray<string>>(
    (paths, name) =>
      paths.flatMap((path) => (name === "*" ? readdirSync(path) : [name]).map((name) => join(path, name))).filter((
        path
      ) => existsSync(path)),
    [directory]
  )
  const [path, ...others] = found
  if (path === undefined || others.length > 0) throw new Error(`${found.length} of ${pattern} in ${directory}`)
  return path
}
