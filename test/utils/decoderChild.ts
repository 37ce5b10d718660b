/** Compiles the program of the normalizer's child, which the tests cannot run from its source. */
import { build } from "esbuild"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"

const root = resolve(import.meta.dirname, "../..")

export interface Program {
  readonly entry: URL
  readonly remove: () => void
}

/** Bundles it into one file, in a folder from which sharp is found. */
export const compile = async (): Promise<Program> => {
  const cache = join(root, "node_modules", ".cache")
  mkdirSync(cache, { recursive: true })
  const directory = mkdtempSync(join(cache, "session-init-image-"))
  const outfile = join(directory, "child.mjs")
  await build({
    entryPoints: [join(root, "src/internal/normalizer/child.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["sharp"],
    logLevel: "error"
  })
  return { entry: pathToFileURL(outfile), remove: () => rmSync(directory, { recursive: true, force: true }) }
}
