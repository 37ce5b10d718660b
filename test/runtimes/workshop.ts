/** Creates a folder in which the built package and its platforms are installed. */
import { execFileSync, spawnSync } from "node:child_process"
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { compiled, root } from "./paths.js"
import type { Runtime } from "./plan.js"

/** Dependencies that the package and the platforms must share. */
const shared = [
  "effect",
  "multipasta",
  "@effect/platform",
  "@effect/platform-node",
  "@effect/platform-node-shared"
]

export interface Workshop {
  readonly directory: string
  /** Copies a package from the `node_modules` of a folder. */
  readonly add: (name: string, folder: string) => void
  /** The path of a module of a package. */
  readonly moduleOf: (packageName: string, name: string) => string
  readonly remove: () => void
}

/** Builds the package. */
export const makeWorkshop = (): Workshop => {
  const directory = mkdtempSync(join(tmpdir(), "session-init-image-workshop-"))
  const remove = () => rmSync(directory, { recursive: true, force: true })
  const packages = join(directory, "node_modules")
  try {
    for (const name of shared) {
      mkdirSync(dirname(join(packages, name)), { recursive: true })
      symlinkSync(join(root, "node_modules", name), join(packages, name), "junction")
    }
    const built = join(packages, "session-init-image")
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
    execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.json"), "--outDir", join(built, "dist")], {
      stdio: "inherit"
    })
    copyFileSync(join(root, "package.json"), join(built, "package.json"))
    writeFileSync(join(directory, "package.json"), JSON.stringify({ type: "module" }))
    copyFileSync(join(compiled, "smoke.js"), join(directory, "smoke.js"))
  } catch (error) {
    remove()
    throw error
  }
  return {
    directory,
    // A link would resolve its dependencies from its own location.
    add: (name, folder) => cpSync(join(folder, "node_modules", name), join(packages, name), { recursive: true }),
    moduleOf: (packageName, name) => join(packages, packageName, "dist", "esm", `${name}.js`),
    remove
  }
}

/** Whether the smoke test passes in the runtime. */
export const runSmoke = ({ directory }: Workshop, { key, parameters, platform, version }: Runtime, program: string) =>
  spawnSync(program, [...parameters, join(directory, "smoke.js"), platform, key, version], {
    cwd: directory,
    stdio: "inherit",
    timeout: 120_000,
    killSignal: "SIGKILL"
  }).status === 0
