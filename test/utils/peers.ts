/** Programs that npm does not install. Where one is missing, its tests are left out and say so; in CI that is a failure. */
import { assert, it } from "@effect/vitest"
import { execFile, spawnSync } from "node:child_process"
import { accessSync, constants, existsSync } from "node:fs"
import { delimiter, join } from "node:path"
import { promisify } from "node:util"

/** The first of the commands that succeeds with these arguments. */
export const findCommand = (commands: ReadonlyArray<string>, args: ReadonlyArray<string>): string | undefined =>
  commands.find((command) => spawnSync(command, args, { stdio: "ignore" }).status === 0)

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The path of the first program of these names in the `PATH` and the further folders. */
export const findProgram = (names: ReadonlyArray<string>, folders: ReadonlyArray<string> = []): string | undefined =>
  [...(process.env["PATH"] ?? "").split(delimiter), ...folders]
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find(isExecutable)

/** Debian's interpreter has Debian's modules; another one may come first on the path. */
export const findPython = (module: string): string | undefined =>
  findCommand(["/usr/bin/python3", "python3"], ["-c", `import ${module}`])

/** The path of a package that `npm run tools` installs. */
export const findTool = (name: string): string | undefined => {
  const directory = join(import.meta.dirname, "..", "node_modules", name)
  return existsSync(directory) ? directory : undefined
}

/** Adds a test in place of those that need a missing program. */
export const leaveOut = (program: string, promise: string): void => {
  const title = `${program} is not installed: it has not been tested that ${promise}.`
  it.skipIf(process.env["CI"] === undefined)(title, () => assert.fail(`CI must test that ${promise}.`))
  process.stderr.write(`${title}\n`)
}

const run = promisify(execFile)

/** Runs a program to its end and answers its output. Fails with its error output. */
export const output = async (command: string, args: ReadonlyArray<string>): Promise<string> => {
  const { stdout } = await run(command, args, { timeout: 60_000, env: { PATH: process.env["PATH"] } })
  return stdout
}
