/** The runtimes, and the tests that each leaves out. */

/** A runtime in the npm registry. */
export interface Runtime {
  /** Its name for `--only`. */
  readonly name: string
  readonly title: string
  readonly version: string
  /** The npm package of its program for this machine. */
  readonly packageName: string
  /** The path of the program below `node_modules`; `*` is a name that depends on the machine. */
  readonly program: string
  /** Arguments before the script. */
  readonly parameters: ReadonlyArray<string>
  /** The key of its version in `process.versions`. */
  readonly key: "node" | "bun" | "deno"
  /** The prefix of its platform's modules: `NodeContext`, `NodeHttpServer` and so on. */
  readonly platform: "@effect/platform-node/Node" | "@effect/platform-bun/Bun"
}

/** Tests that are not run, with the reason. */
export interface LeftOut {
  /** A file, or a folder with all of its files, from the root. */
  readonly files: string
  /** Limits the entry to tests whose full name matches. */
  readonly tests?: RegExp
  readonly reason: string
  /** The names of the runtimes; all by default. */
  readonly on?: ReadonlyArray<string>
}

/** Installed beside Bun; its other dependencies come from the repository. */
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

/** The first is the oldest Node that the package supports. */
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
    reason: "it tests the packed files, which do not depend on the runtime"
  },
  {
    files: "test/integration/documentation.test.ts",
    reason: "it compiles the documentation, which does not depend on the runtime"
  },
  { files: "test/unit/browser/**", reason: "it tests the browser module" },
  { files: "test/integration/browser/**", reason: "it tests the page and the browser module" },
  { files: "test/endurance/page.test.ts", reason: "it tests the page" },
  { files: "test/endurance/page.use.test.ts", reason: "it tests the page" },
  { files: "test/endurance/page.visit.test.ts", reason: "it tests the page" },
  {
    files: "test/endurance/soak.test.ts",
    reason: "it starts a child process with flags of Node"
  },
  {
    files: "test/endurance/siege.test.ts",
    reason: "it starts child processes with flags of Node"
  },
  {
    files: "test/unit/NodeServer.test.ts",
    reason: "Bun's server does not read HTTP with Node's parser",
    on: ["bun"]
  },
  {
    files: "test/endurance/killed.test.ts",
    reason: "it kills processes that are bundled for Node"
  },
  { files: "test/endurance/hosts.test.ts", reason: "it kills processes that are bundled for Node" },
  { files: "test/endurance/cluster/**", reason: "it kills processes that are bundled for Node" },
  { files: "test/endurance/gateways/**", reason: "it kills processes that are bundled for Node" },
  {
    files: "test/examples/frameworks/**",
    reason: "it replaces the global of Bun, which Bun does not allow",
    on: ["bun"]
  },
  {
    files: "test/unit/internal/format/byteReader.test.ts",
    tests: /^byteReader does not retain a chunk after which/,
    reason: "it needs the garbage collector of V8",
    on: ["bun"]
  },
  {
    files: "test/examples/rpc.test.ts",
    tests: /^RPCs over HTTP/,
    reason: "its client needs undici, and Bun's replacement of undici cannot send requests",
    on: ["bun"]
  },
  {
    files: "test/endurance/store/s3.test.ts",
    tests: /^a store in Ceph keeps an image through the client over undici/,
    reason: "Bun's replacement of undici cannot send requests",
    on: ["bun"]
  },
  {
    files: "test/integration/server/store.test.ts",
    tests: /^a server with a store (?:answers 500 where its object store|does not start without)/,
    reason: "the server's client of an object store needs undici, and Bun's replacement of undici cannot send requests",
    on: ["bun"]
  },
  {
    files: "test/integration/server/frames.test.ts",
    tests: /^a message that is too large is refused before it arrives/,
    reason: "Bun gives a message of a WebSocket only when it has arrived",
    on: ["bun"]
  }
]

/** The entries that apply to the runtime. */
export const leftOutOn = (name: string): ReadonlyArray<LeftOut> =>
  leftOut.filter(({ on }) => on === undefined || on.includes(name))

/** Sizes of the random tests: smaller than in the endurance run on the oldest Node. */
export const sizes: Readonly<Record<string, string>> = { FUZZ_RUNS: "5000", MODEL_COMMANDS: "3000" }

export const runtimeOf = (name: string | undefined): Runtime => {
  const found = runtimes.find((runtime) => runtime.name === name)
  if (found === undefined) {
    throw new Error(`${String(name)}: not one of ${runtimes.map(({ name }) => name).join(", ")}`)
  }
  return found
}
