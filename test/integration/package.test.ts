import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { build, transform } from "esbuild"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import * as vm from "node:vm"
import { TestImages } from "session-init-image/testing"
import { run } from "../utils/command.js"
import { uprightSize } from "../utils/descriptions.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { findCommand, findTool, leaveOut } from "../utils/peers.js"
import { fromMarkdown, linksOf } from "../utils/snippets.js"

const root = path.resolve(import.meta.dirname, "../..")

interface Manifest {
  readonly version: string
  readonly bin?: Record<string, string>
  readonly exports: Record<string, string | Record<string, string>>
  readonly dependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly peerDependencies: Record<string, string>
  readonly peerDependenciesMeta?: Record<string, { readonly optional: boolean }>
  readonly devDependencies: Record<string, string>
  readonly overrides: Record<string, string>
  readonly allowScripts: Record<string, boolean>
}

/** A package in the lock file. */
interface Locked {
  readonly os?: ReadonlyArray<string>
  readonly cpu?: ReadonlyArray<string>
  readonly libc?: ReadonlyArray<string>
  readonly hasInstallScript?: boolean
}

// The manifest of this repository has these fields.
const readManifest = (directory: string): Manifest =>
  JSON.parse(fs.readFileSync(path.join(directory, "package.json"), "utf8")) as Manifest

const manifest = readManifest(root)

/** The relative paths of all files below a folder. */
const listFiles = (directory: string): Array<string> =>
  fs.readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)))
    .sort()

const sourceFiles = listFiles(path.join(root, "src"))
const sources = sourceFiles.filter((file) => file.endsWith(".ts"))
const built = sources.filter((file) => !file.startsWith(`server${path.sep}`))
const publicModules = built.filter((file) => !file.includes(path.sep) && file !== "index.ts").map((file) =>
  file.slice(0, -".ts".length)
)
const pureModules = [
  "DisplayName",
  "ImageFormat",
  "InitImageDialect",
  "InitImageError",
  "InitImageLimits",
  "InitImagePayload"
]

/** The program, the licences of what it bundles, and the page. */
const program = [
  "cluster.js",
  "licenses.txt",
  "session-init-image.js",
  ...["icon.svg", "index.html", "page.js", "style.css"].map((file) => path.join("public", file))
]

/** The documents that the README links to, and the files that it shows. */
const shown = [
  ".github/CONTRIBUTING.md",
  ".github/SECURITY.md",
  "test/bench/chart.svg",
  "test/bench/results.json",
  "test/integration/browser/page.png",
  "test/utils/ceph.sh"
]

const examples = listFiles(path.join(root, "test", "examples"))
  .filter((file) => /\.(py|ts)$/.test(file) && (!file.endsWith(".test.ts") || file === "testing.test.ts"))
  .map((file) => path.join("test", "examples", file))

const succeed = async (command: string, args: ReadonlyArray<string>, cwd: string): Promise<string> => {
  const { status, stderr, stdout } = await run(command, args, { cwd })
  assert.strictEqual(status, 0, `${command} ${args.join(" ")}\n${stdout}\n${stderr}`)
  return stdout
}

const hasCheckers = ["publint", "@arethetypeswrong/cli"].every((name) => findTool(name) !== undefined)
if (!hasCheckers) leaveOut("publint or attw (`npm run tools`)", "every resolver finds the entry points and their types")

const hasCurl = findCommand(["curl"], ["--version"]) !== undefined
if (!hasCurl) leaveOut("curl", "the commands below the server in the README print what they say")

const tool = (name: string): string => path.join(root, "test", "node_modules", ".bin", name)

/** Returns a free port. */
const freePort = async (): Promise<number> => {
  const server = Net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  assert(typeof address === "object" && address !== null)
  server.close()
  return address.port
}

/** Waits until the port accepts connections. */
const listens = async (port: number): Promise<void> => {
  for (let tries = 0; tries < 200; tries++) {
    const socket = Net.connect(port, "127.0.0.1")
    const connected = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "close").then(() => false)
    ])
      .catch(() => false)
    socket.destroy()
    if (connected) return
    await sleep(100)
  }
  assert.fail(`no server listens on ${port}`)
}

const temporary = fs.mkdtempSync(path.join(tmpdir(), "session-init-image-package-"))
const project = path.join(temporary, "project")
const consumer = path.join(temporary, "consumer")
const installed = path.join(consumer, "node_modules", "session-init-image")
let tarball: string

/** Builds a copy, because other tests and tools use `dist`. */
beforeAll(async () => {
  fs.cpSync(root, project, {
    recursive: true,
    filter: (file) => !/^(node_modules|dist|coverage|docs|\.git)$/.test(path.basename(file))
  })
  fs.symlinkSync(path.join(root, "node_modules"), path.join(project, "node_modules"))
  fs.mkdirSync(path.join(project, "dist"))
  fs.writeFileSync(path.join(project, "dist", "stale.js"), "")

  await succeed("npm", ["pack", "--pack-destination", temporary], project)
  const [name, ...others] = fs.readdirSync(temporary).filter((file) => file.endsWith(".tgz"))
  assert(name !== undefined && others.length === 0)
  tarball = path.join(temporary, name)

  fs.cpSync(path.join(root, "test", "integration", "consumer"), consumer, { recursive: true })
  fs.mkdirSync(path.join(consumer, "node_modules", "@effect"), { recursive: true })
  for (const dependency of [".bin", "@types", "typescript", "effect", "@effect/platform", "@effect/platform-node"]) {
    fs.symlinkSync(path.join(root, "node_modules", dependency), path.join(consumer, "node_modules", dependency))
  }
  fs.mkdirSync(installed)
  await succeed("tar", ["-xzf", tarball, "--strip-components=1", "-C", installed], temporary)
})

afterAll(() => fs.rmSync(temporary, { recursive: true, force: true }))

describe("the manifest", () => {
  it("exports the index, every public module and nothing else", () => {
    assert.deepStrictEqual(manifest.exports, {
      "./package.json": "./package.json",
      ".": { types: "./dist/index.d.ts", default: "./dist/index.js" },
      ...Object.fromEntries(publicModules.map((name) => [
        `./${name}`,
        { types: `./dist/${name}.d.ts`, default: `./dist/${name}.js` }
      ])),
      "./browser": { types: "./dist/browser/index.d.ts", default: "./dist/browser/index.js" },
      "./browser/promise": { types: "./dist/browser/promise.d.ts", default: "./dist/browser/promise.js" },
      "./testing": { types: "./dist/testing/index.d.ts", default: "./dist/testing/index.js" }
    })
  })

  it("has only effect and @effect/platform as required peers, below their next major", () => {
    assert.deepStrictEqual({ ...manifest.dependencies, ...manifest.optionalDependencies }, {})
    const optional = ["@effect/cluster", "@effect/rpc", "@effect/sql", "aws4fetch", "sharp"]
    assert.sameMembers(Object.keys(manifest.peerDependencies), ["@effect/platform", "effect", ...optional])
    assert.deepStrictEqual(
      manifest.peerDependenciesMeta,
      Object.fromEntries(optional.map((name) => [name, { optional: true }]))
    )
    for (const [name, range] of Object.entries(manifest.peerDependencies)) {
      // A caret range ends before the next major, and below 1.0.0 before the next minor.
      assert.match(range, /^\^\d+\.\d+\.\d+$/, name)
    }
  })

  it("installs at most 250 packages, none of whose install scripts is left open", () => {
    // The lock file of npm, version 3.
    const { packages } = JSON.parse(fs.readFileSync(path.join(root, "package-lock.json"), "utf8")) as {
      readonly packages: Record<string, Locked>
    }
    const installs = ({ cpu, libc, os }: Locked) =>
      [os ?? "linux", cpu ?? "x64", libc ?? "glibc"].every((names, i) =>
        names.includes(["linux", "x64", "glibc"][i] ?? "")
      )
    const installed = Object.entries(packages).filter(([place, locked]) => place !== "" && installs(locked))
    assert.isAtMost(installed.length, 250)
    const scripts = installed.filter(([, { hasInstallScript }]) => hasInstallScript === true)
    assert.deepStrictEqual(
      scripts.map(([place]) => place.replace(/^.*node_modules\//, "")).sort(),
      Object.keys(manifest.allowScripts).sort()
    )
  })

  it("gives the consumer the versions and overrides of the development dependencies", () => {
    const { dependencies, overrides } = readManifest(path.join(root, "test", "integration", "consumer"))
    for (const [name, range] of Object.entries(dependencies ?? {})) {
      assert.strictEqual(range, manifest.devDependencies[name], name)
    }
    for (const [name, range] of Object.entries(manifest.peerDependencies)) {
      // The consumer shows that the package works without its optional peers.
      if (manifest.peerDependenciesMeta?.[name]?.optional !== true) {
        assert.strictEqual(dependencies?.[name], range, name)
      }
    }
    assert.deepStrictEqual(overrides, manifest.overrides)
  })
})

/** Modules with an entry point of their own only: they need an optional peer, or are for one runtime. */
const separateModules = new Set(["InitImageCluster", "InitImageNormalizer", "InitImageStore", "NodeServer"])

describe("the index", () => {
  it("exports one namespace for each public module that belongs in it, without logic", () => {
    assert.strictEqual(
      fs.readFileSync(path.join(root, "src", "index.ts"), "utf8").replace(/\/\*\*.*?\*\/\n/gs, "").trim(),
      publicModules.filter((name) => !separateModules.has(name))
        .map((name) => `export * as ${name} from "./${name}.js"`).join("\n")
    )
  })
})

describe("the tarball", () => {
  it("holds the sources, a fresh build of the library, the bundled program, the examples, and what its README shows", () => {
    assert.deepStrictEqual(
      listFiles(installed),
      [
        "LICENSE",
        "README.md",
        "package.json",
        ...shown,
        ...examples,
        ...sourceFiles.map((file) => path.join("src", file)),
        ...built.map((file) => path.join("dist", file.slice(0, -".ts".length))).flatMap((file) => [
          `${file}.js`,
          `${file}.js.map`,
          `${file}.d.ts`,
          `${file}.d.ts.map`
        ]),
        ...program.map((file) => path.join("dist", "bin", file))
      ].sort()
    )
  })

  it("has every file that its documents link to, and that its README names", () => {
    const examples = path.join("test", "examples")
    for (const document of ["README.md", "src/README.md", ...shown.filter((file) => file.endsWith(".md"))]) {
      const text = fs.readFileSync(path.join(installed, document), "utf8")
      const linked = linksOf(text).map((link) => path.join(path.dirname(document), link.replace(/#.*/, "")))
      // A name such as `init.png` is that of no file of the repository.
      const named = document === "README.md"
        ? Array.from(text.matchAll(/`([\w.-]+[./][\w./-]*)`/g), ([, name = ""]) => name)
          .flatMap((name) => [name, path.join(examples, name)])
          .filter((name) => fs.existsSync(path.join(root, name)))
        : []
      if (document === "README.md") assert.isAbove(named.length, 0)
      for (const file of [...linked, ...named]) {
        assert(fs.existsSync(path.join(installed, file)), `${document}: ${file}`)
      }
    }
  })

  it("has source maps of packed sources", () => {
    const files = listFiles(installed)
    const maps = files.filter((file) => file.endsWith(".map"))
    assert.isAbove(maps.length, 0)
    for (const map of maps) {
      // A source map, version 3.
      const { sources } = JSON.parse(fs.readFileSync(path.join(installed, map), "utf8")) as {
        readonly sources: ReadonlyArray<string>
      }
      assert.strictEqual(sources.length, 1, map)
      for (const source of sources) {
        assert.include(files, path.join(path.dirname(map), source), map)
      }
    }
  })

  it.skipIf(!hasCheckers)("passes publint, which checks the entry points for Node and bundlers", async () => {
    await succeed(tool("publint"), ["run", installed, "--pack", "false", "--strict"], temporary)
  })

  it.skipIf(!hasCheckers)("passes attw, which checks the types of the entry points", async () => {
    await succeed(tool("attw"), [tarball, "--profile", "esm-only"], temporary)
  })

  it("type-checks and runs in a project that installs it, also without skipLibCheck", async () => {
    assert.include(await succeed("npm", ["test"], consumer), "The installed package does what it says.")
  })
})

describe("the program", () => {
  /** A folder with the package and its required peers alone, as `npx` makes it. */
  const bare = path.join(temporary, "bare")
  const peers = ["effect", "@effect/platform"]
  const dependenciesOfPeers = [
    "fast-check",
    "pure-rand",
    "@standard-schema",
    "find-my-way-ts",
    "msgpackr",
    "multipasta"
  ]
  const images = path.join(temporary, "images")
  const commands = path.join(temporary, "commands")
  const opened = path.join(temporary, "opened")
  const bin = path.join(bare, "node_modules", "session-init-image", "dist", "bin", "session-init-image.js")

  beforeAll(() => {
    fs.mkdirSync(path.join(bare, "node_modules", "@effect"), { recursive: true })
    fs.cpSync(installed, path.join(bare, "node_modules", "session-init-image"), { recursive: true })
    for (const name of [...peers, ...dependenciesOfPeers]) {
      fs.symlinkSync(path.join(root, "node_modules", name), path.join(bare, "node_modules", name))
    }
    for (const directory of [images, commands]) fs.mkdirSync(directory)
    for (const name of ["xdg-open", "open"]) {
      fs.writeFileSync(path.join(commands, name), `#!/bin/sh\necho "$1" > "${opened}"\n`, { mode: 0o755 })
    }
  })

  // Otherwise the target of a link would find the packages beside it.
  const program = ["--preserve-symlinks", bin]

  const ask = (...args: ReadonlyArray<string>) => run(process.execPath, [...program, ...args])

  it("is named by the manifest, and can be executed", () => {
    assert.deepStrictEqual(manifest.bin, { "session-init-image": "./dist/bin/session-init-image.js" })
    assert.match(fs.readFileSync(bin, "utf8"), /^#!\/usr\/bin\/env node\n/)
    assert.strictEqual(fs.statSync(bin).mode & 0o111, 0o111)
  })

  it("prints its version, and refuses an unknown option with its usage and code 2", async () => {
    assert.strictEqual((await ask("--version")).stdout, `${manifest.version}\n`)
    const { status, stderr, stdout } = await ask("--prot", "1")
    assert.strictEqual(status, 2)
    assert.strictEqual(stdout, "")
    assert.match(stderr, /'--prot'.*^Usage: /ms)
  })

  it("serves the page with the package's peers alone, opens it, takes an image, and leaves nothing", async () => {
    const port = await freePort()
    const server = spawn(process.execPath, [...program, "--port", String(port), "--open"], {
      cwd: bare,
      env: { PATH: commands, INIT_IMAGE_DIRECTORY: images, PORT: "1" },
      stdio: ["ignore", "pipe", "inherit"]
    })
    const exited = once(server, "exit")
    let output = ""
    server.stdout.on("data", (chunk) => {
      output += String(chunk)
    })
    try {
      await listens(port)
      const url = `http://127.0.0.1:${port}`
      const page = await (await fetch(url)).text()
      for (const [, file] of page.matchAll(/ (?:src|href)="(\/?[\w.]+)"/g)) {
        assert.strictEqual((await fetch(new URL(file ?? "", url))).status, 200, file)
      }
      const image = png({ width: 3, height: 2 })
      const body = JSON.stringify(payloadOf("image/png", image, "ref.png"))
      const put = await fetch(`${url}/sessions/one/init-image`, {
        method: "PUT",
        body,
        headers: { "content-type": "application/json" }
      })
      assert.strictEqual(put.status, 200)
      assert.lengthOf(listFiles(images).filter((file) => file.endsWith(".png")), 1)
      assert.include(await (await fetch(`${url}/metrics`)).text(), "session_init_image_outcomes_total")
      for (let tries = 0; !fs.existsSync(opened) && tries < 200; tries++) await sleep(50)
      assert.strictEqual(fs.readFileSync(opened, "utf8"), `${url}/\n`)
      assert.include(output, `Listening on ${url}`)

      const second = await ask("--port", String(port))
      assert.strictEqual(second.status, 1)
      assert.include(second.stdout, "The port is in use. Choose another one with --port")
    } finally {
      server.kill("SIGINT")
    }
    assert.deepStrictEqual(await exited, [0, null])
    assert.deepStrictEqual(fs.readdirSync(images), [])
  })

  it("says which packages a cluster needs", async () => {
    const env = {
      PORT: "0",
      INIT_IMAGE_STORE: "directory",
      INIT_IMAGE_STORE_DIRECTORY: images,
      INIT_IMAGE_CLUSTER_DATABASE_URL: "postgres://127.0.0.1:9/test"
    }
    const { status, stdout } = await run(process.execPath, program, { cwd: bare, env })
    assert.strictEqual(status, 1)
    assert.include(stdout, "npm install @effect/cluster")
    assert.notInclude(stdout, "postgres:")
  })
})

describe("the server in the README", () => {
  const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")
  const snippet = fromMarkdown("README.md", readme).find(({ code }) => code.includes("NodeRuntime.runMain"))
  const [, commands = ""] = /^```sh\n((?:(?!```)[^])*localhost:3000[^]*?)\n```$/m.exec(readme) ?? []

  /** Runs the commands below the server, and compares each one's output with the comment that ends them. */
  const runCommands = async (port: number) => {
    const lines = commands.split("\n")
    const printed = (lines.pop() ?? "").replace(/^# /, "")
    const photo = TestImages.jpeg({ width: 4000, height: 3000, orientation: 6, bytes: 4_210_733 })
    fs.writeFileSync(path.join(consumer, "photo.jpg"), photo.bytes)
    assert.lengthOf(lines, 3)
    for (const line of lines) {
      const command = line.replace("localhost:3000", `localhost:${port}`)
      assert.strictEqual(await succeed("bash", ["-c", command], consumer), printed, line)
    }
  }

  it("has at most ten lines below its imports, says where it listens, and accepts and refuses JSON, raw and form bodies", async () => {
    assert(snippet !== undefined)
    assert.isAtMost(snippet.code.split("\n").filter((line) => line !== "" && !line.startsWith("import ")).length, 10)
    // Runs without a compiler.
    fs.writeFileSync(path.join(consumer, "server.mjs"), snippet.code)
    const port = await freePort()
    const server = spawn(process.execPath, ["server.mjs"], {
      cwd: consumer,
      env: { ...process.env, PORT: String(port) },
      stdio: ["ignore", "pipe", "inherit"]
    })
    const exited = once(server, "exit")
    let output = ""
    server.stdout.on("data", (chunk) => {
      output += String(chunk)
    })
    try {
      await listens(port)
      for (let tries = 0; !output.includes("\n") && tries < 200; tries++) await sleep(50)
      assert.include(output, `Listening on http://0.0.0.0:${port}\n`)
      assert.include(readme, "prints `Listening on http://0.0.0.0:3000`")
      if (hasCurl) await runCommands(port)
      const send = async (body: string | FormData | Uint8Array, type?: string) => {
        const response = await fetch(`http://127.0.0.1:${port}/init-image`, {
          method: "POST",
          body,
          headers: type === undefined ? {} : { "content-type": type }
        })
        const answer: unknown = await response.json()
        return { status: response.status, answer }
      }
      const form = (bytes: Uint8Array) => {
        const data = new FormData()
        data.append("image", new File([bytes], "ref.png", { type: "image/png" }))
        return data
      }
      const image = png({ width: 3, height: 2 })
      const cut = image.slice(0, -12)
      const described = (display_name: string) => ({
        status: 200,
        answer: { mime: "image/png", display_name, bytes: image.length, ...uprightSize(3, 2) }
      })
      const refused = {
        status: 422,
        answer: {
          _tag: "MalformedImage",
          format: "png",
          reason: "Truncated",
          message: "The png image ends before it is complete."
        }
      }
      const json = (bytes: Uint8Array) => JSON.stringify(payloadOf("image/png", bytes, "ref.png"))
      assert.deepStrictEqual(await send(json(image), "application/json"), described("ref.png"))
      assert.deepStrictEqual(await send(json(cut), "application/json"), refused)
      assert.deepStrictEqual(await send(image, "image/png"), described("init.png"))
      assert.deepStrictEqual(await send(cut, "image/png"), refused)
      assert.deepStrictEqual(await send(form(image)), described("ref.png"))
      assert.deepStrictEqual(await send(form(cut)), refused)
    } finally {
      server.kill("SIGINT")
      await exited
    }
  })
})

describe("the pure modules", () => {
  const bundle = () =>
    build({
      stdin: {
        contents: [
          ...pureModules.map((name) => `export * as ${name} from "session-init-image/${name}"`),
          `export * as Effect from "effect/Effect"`
        ].join("\n"),
        resolveDir: consumer
      },
      bundle: true,
      platform: "browser",
      format: "iife",
      globalName: "library",
      write: false,
      metafile: true,
      absWorkingDir: consumer,
      logLevel: "silent"
    })

  it("bundle for a browser without imports or globals of Node", async () => {
    const { metafile } = await bundle()
    const own = Object.keys(metafile.inputs).filter((file) => file.startsWith("node_modules/session-init-image/"))
    for (const name of pureModules) {
      assert.include(own, `node_modules/session-init-image/dist/${name}.js`)
    }
    for (const file of own) {
      // Removes comments.
      const { code } = await transform(fs.readFileSync(path.join(consumer, file), "utf8"))
      // The CRC-32 of the runtime is looked up, and done without where there is none.
      const others = file.endsWith("/format/crc32.js") ? code.replace("Reflect.get(globalThis, \"process\")", "") : code
      assert.notMatch(others, /\b(Buffer|process|global|require|__dirname)\b/, file)
    }
  })

  it("run without the globals of Node", async () => {
    const { outputFiles: [bundled] } = await bundle()
    assert(bundled !== undefined)
    const page = vm.createContext({ TextEncoder, TextDecoder, URL, URLSearchParams, setTimeout, clearTimeout })
    assert.strictEqual(vm.runInContext("typeof Buffer + typeof process + typeof require", page), "undefined".repeat(3))
    vm.runInContext(bundled.text, page)

    const run = (expression: string): unknown =>
      vm.runInContext(`with (library) { JSON.stringify(${expression}) }`, page)
    const image = `{ mime: "image/jpg", name: "a/b.jpg", data: "AAAA" }`
    assert.strictEqual(run(`DisplayName.fromUnknown("a/b.png", ImageFormat.png)`), `"b.png"`)
    assert.strictEqual(run(`Effect.runSync(InitImagePayload.decode(${image})).value.mime`), `"image/jpeg"`)
    assert.strictEqual(
      run(
        `Effect.runSync(InitImagePayload.decode(${image}).pipe(
          InitImageLimits.withLimits({ acceptedFormats: ["image/png"] }),
          Effect.flip
        ))`
      ),
      `{"reason":"NotAccepted","accepted":["image/png"],"_tag":"InvalidMime"}`
    )
    assert.strictEqual(run(`new InitImageError.Empty().message`), `"The image is empty."`)
    assert.strictEqual(
      run(
        `(() => {
          const probe = ImageFormat.makeProbe(ImageFormat.webp, { maxPixels: 1 })
          probe.push(new TextEncoder().encode("GIF89a"))
          return probe.end()
        })()`
      ),
      `{"_tag":"ContentMismatch","detected":"gif"}`
    )
  })
})
