/**
 * Bundles the program `session-init-image` into `dist/bin`, with what it needs beyond the package's peers: the platform for
 * Node and the serializer of metrics. The library itself and its peers stay imports, so that both are loaded once.
 * `licenses.txt` holds the licences of the bundled packages.
 */
import { build } from "esbuild"
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join, sep } from "node:path"

const outdir = join("dist", "bin")
const program = "session-init-image"

/**
 * Keeps the imports of the library, that of `cluster.js`, a file of its own since its packages are optional, and those of
 * this file. `dist/bin` is as deep as `dist/server`, so the paths stay as they are.
 */
const kept = {
  name: "kept",
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\.\/|^\.\/cluster\.js$|^@effect\// }, ({ importer, path, resolveDir }) => {
      if (!resolveDir.endsWith(join("dist", "server"))) return undefined
      return path.startsWith(".") || basename(importer) === "cluster.js" ? { path, external: true } : undefined
    })
}

const { metafile } = await build({
  entryPoints: { [program]: join("dist", "server", "main.js"), cluster: join("dist", "server", "cluster.js") },
  outdir,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20.20",
  // The ES modules of packages lose what is not used.
  mainFields: ["module", "main"],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
  // Optional packages of `ws`, and packages that are imported only when they are needed.
  external: ["effect", "@effect/platform", "sharp", "esbuild", "bufferutil", "utf-8-validate"],
  plugins: [kept],
  // CommonJS packages call `require`.
  banner: {
    js:
      `#!/usr/bin/env node\nimport { createRequire } from "node:module"\nconst require = createRequire(import.meta.url)`
  }
})
chmodSync(join(outdir, `${program}.js`), 0o755)

/** The folders of the bundled packages. */
const packages = new Set(
  Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([input, { bytesInOutput }]) =>
      bytesInOutput === 0 ? [] : /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input) ?? []
    )
  )
)

const licenseOf = (directory) => {
  const { name, version } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"))
  const file = readdirSync(directory).find((file) => /^licen[cs]e/i.test(file))
  if (file === undefined) throw new Error(`${name} has no licence`)
  return `${name} ${version}\n\n${readFileSync(join(directory, file), "utf8").trim()}\n`
}

writeFileSync(
  join(outdir, "licenses.txt"),
  [...packages].map((path) => path.replaceAll("/", sep)).toSorted().map(licenseOf).join(`\n${"-".repeat(80)}\n\n`)
)
