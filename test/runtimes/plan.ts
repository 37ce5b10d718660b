/** What runs where, and what is left out there. */

/** One runtime as the npm registry has it. */
export interface Runtime {
  /** What `--only` calls it. */
  readonly name: string
  readonly title: string
  readonly version: string
  /** The npm package that brings its program for this machine. */
  readonly packageName: string
  /** Where the program lies below `node_modules`; a `*` stands for what npm chose for this machine. */
  readonly program: string
  /** What stands before the script to run. */
  readonly parameters: ReadonlyArray<string>
  /** The key of its version in `process.versions`. */
  readonly key: "node" | "bun" | "deno"
  /** How the modules of its platform begin: `NodeContext`, `NodeHttpServer` and so on. */
  readonly platform: "@effect/platform-node/Node" | "@effect/platform-bun/Bun"
}

/** A part of the suite that is not run, and why. */
export interface LeftOut {
  /** A glob of files, from the root. */
  readonly files: string
  /** In those files only the tests whose full name this matches; all of them where it is not given. */
  readonly tests?: RegExp
  readonly reason: string
  /** The runtimes that leave it out, by name; all where it is not given. */
  readonly on?: ReadonlyArray<string>
}

/** Brought into the cache beside Bun; its other dependencies are the repository's own. */
export const platformBun = { name: "@effect/platform-bun", version: "0.91.2" }

const executable = process.platform === "win32" ? ".exe" : ""

const node = (version: string): Runtime => {
  const platform = process.platform === "win32" ? "win" : process.platform
  const packageName = `node-${platform}-${process.arch}`
  return {
    name: `node-${version.replace(/\..*/, "")}`,
    title: "Node",
    version,
    packageName,
    program: `${packageName}/bin/node${executable}`,
    parameters: [],
    key: "node",
    platform: "@effect/platform-node/Node"
  }
}

/** The first is the oldest Node that the package allows. */
export const runtimes: ReadonlyArray<Runtime> = [
  node("20.20.0"),
  node("22.23.3"),
  node("24.21.0"),
  node("26.10.0"),
  {
    name: "bun",
    title: "Bun",
    version: "1.4.5",
    packageName: "bun",
    program: `@oven/*/bin/bun${executable}`,
    parameters: ["--bun"],
    key: "bun",
    platform: "@effect/platform-bun/Bun"
  },
  {
    name: "deno",
    title: "Deno",
    version: "2.9.6",
    packageName: "deno",
    program: `@deno/*/deno${executable}`,
    parameters: ["run", "--allow-all", "--no-lock"],
    key: "deno",
    platform: "@effect/platform-node/Node"
  }
]

const leftOut: ReadonlyArray<LeftOut> = [
  {
    files: "test/integration/package.test.ts",
    reason: "it packs the package and reads what is in it, which is the same whatever runs it"
  },
  {
    files: "test/integration/documentation.test.ts",
    reason: "it compiles what the documentation shows, which is the same whatever runs it"
  },
  { files: "test/*/browser/**", reason: "it is about browsers" },
  {
    files: "test/endurance/soak.test.ts",
    reason: "it measures the memory and the descriptors of a child that is started with Node's own flags"
  },
  {
    files: "test/endurance/killed.test.ts",
    reason: "it kills and halts programs that are bundled for Node, which is about the operating system"
  },
  {
    files: "test/unit/internal/format/byteReader.test.ts",
    tests: /^byteReader lets go of a chunk in which/,
    reason: "it makes V8 collect garbage, which Bun does not have",
    on: ["bun"]
  },
  {
    files: "test/examples/rpc.test.ts",
    tests: /^RPCs over HTTP/,
    reason: "its client is that of undici, in whose place Bun has something that cannot send a request",
    on: ["bun"]
  }
]

/** What that runtime leaves out. */
export const leftOutOn = (name: string): ReadonlyArray<LeftOut> =>
  leftOut.filter(({ on }) => on === undefined || on.includes(name))

/** For how many cases the random tests go on: enough for a runtime, and not to look for rare mistakes. */
export const sizes: Readonly<Record<string, string>> = { FUZZ_RUNS: "5000" }

export const runtimeOf = (name: string | undefined): Runtime => {
  const found = runtimes.find((runtime) => runtime.name === name)
  if (found === undefined) {
    throw new Error(`${String(name)}: not one of ${runtimes.map(({ name }) => name).join(", ")}`)
  }
  return found
}
