import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { run } from "../utils/command.js"
import { findCommand, leaveOut } from "../utils/peers.js"
import {
  anchorsOf,
  exportsOf,
  fromDocComments,
  fromMarkdown,
  linksOf,
  shellSamples,
  type Snippet
} from "../utils/snippets.js"
import { serve } from "./server/testServer.js"

const root = path.resolve(import.meta.dirname, "../..")

const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

const sources = fs.readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => path.join("src", file))
  .sort()
/** Entry points that export other modules as namespaces, without logic. */
const indexes = [path.join("src", "index.ts"), path.join("src", "testing", "index.ts")]

const publicModules = sources.filter((file) =>
  ["src", path.join("src", "browser"), path.join("src", "testing")].includes(path.dirname(file))
  && !indexes.includes(file)
)

const temporary = fs.mkdtempSync(path.join(tmpdir(), "session-init-image-documentation-"))

/** The name of a snippet's file, which encodes the document and the line that it comes from. */
const snippetFile = (snippet: Snippet): string => `${snippet.file.replaceAll(path.sep, "+")}+${snippet.line}.ts`

/** Rewrites the positions in the output of `tsc` from the snippet's file to the document. */
const locate = (output: string): string =>
  output.replace(
    /^(\S+)\+(\d+)\.ts\((\d+),(\d+)\)/gm,
    (_, file: string, first: string, line: string, column: string) =>
      `${file.replaceAll("+", path.sep)}:${Number(first) + Number(line) - 1} (column ${column} of the sample)`
  )

/** Maps the exported modules to their sources, so that a sample can import exported modules only. */
const paths = (): Record<string, string> =>
  Object.fromEntries(
    // The modules of the testing kit have one entry point.
    [...indexes, ...publicModules.filter((file) => path.dirname(file) !== path.join("src", "testing"))].map((file) => [
      ["session-init-image", ...file.slice("src/".length, -".ts".length).split(path.sep)]
        .filter((segment) => segment !== "index")
        .join("/"),
      path.join(root, file)
    ])
  )

beforeAll(() => {
  fs.symlinkSync(path.join(root, "node_modules"), path.join(temporary, "node_modules"))
  fs.writeFileSync(path.join(temporary, "package.json"), JSON.stringify({ type: "module" }))
})

afterAll(() => fs.rmSync(temporary, { recursive: true, force: true }))

const typeCheck = async (name: string, snippets: ReadonlyArray<Snippet>): Promise<string> => {
  for (const snippet of snippets) {
    fs.writeFileSync(path.join(temporary, snippetFile(snippet)), snippet.code)
  }
  fs.writeFileSync(
    path.join(temporary, `${name}.json`),
    JSON.stringify({
      extends: path.join(root, "tsconfig.json"),
      compilerOptions: {
        noEmit: true,
        rootDir: "/",
        declaration: false,
        declarationMap: false,
        sourceMap: false,
        noUnusedLocals: false,
        paths: Object.fromEntries(Object.entries(paths()).map(([name, file]) => [name, [file]]))
      },
      files: snippets.map(snippetFile)
    })
  )
  const tsc = path.join(root, "node_modules", ".bin", "tsc")
  const { stderr, stdout } = await run(tsc, ["--pretty", "false", "-p", `${name}.json`], { cwd: temporary })
  return locate(stdout + stderr)
}

const execute = async (snippet: Snippet): Promise<{ readonly status: number | null; readonly output: string }> => {
  const { outputFiles: [bundled] } = await build({
    stdin: { contents: snippet.code, loader: "ts", resolveDir: temporary, sourcefile: snippetFile(snippet) },
    bundle: true,
    platform: "node",
    format: "esm",
    alias: paths(),
    packages: "external",
    write: false,
    logLevel: "silent"
  })
  assert(bundled !== undefined)
  const file = path.join(temporary, `${snippetFile(snippet)}.mjs`)
  fs.writeFileSync(file, bundled.contents)
  const { status, stderr, stdout } = await run(process.execPath, [file], { cwd: temporary, timeout: 20_000 })
  return { status, output: stdout + stderr }
}

describe("the samples", () => {
  const readme = fs.existsSync(path.join(root, "README.md")) ? fromMarkdown("README.md", read("README.md")) : []
  const comments = sources.flatMap((file) => fromDocComments(file, read(file)))

  it("exist in the README and in doc comments", () => {
    assert.isAbove(readme.length, 0)
    assert.isAbove(comments.length, 0)
  })

  it("type-check under the package's settings", async () => {
    assert.strictEqual(await typeCheck("samples", [...readme, ...comments]), "")
  })

  it("run with exit code 0 if they are marked `ts run`, and print what the comment behind `console.log` says", async () => {
    const runnable = [...readme, ...comments].filter((snippet) => snippet.run)
    assert.isAbove(runnable.length, 0)
    for (const snippet of runnable) {
      const { output, status } = await execute(snippet)
      assert.strictEqual(status, 0, `${snippet.file}:${snippet.line}\n${output}`)
      const printed = Array.from(snippet.code.matchAll(/^console\.log\(.*\) \/\/ (.*)$/gm), ([, text]) => `${text}\n`)
      assert.strictEqual(output, printed.join(""), `${snippet.file}:${snippet.line}`)
    }
  })
})

/** Prints the answer and, on the last line, its status. */
const curl = "curl() { command curl --silent --max-time 30 --write-out '\\n%{http_code}' \"$@\"; }"

const hasCurl = findCommand(["curl"], ["--version"]) !== undefined
if (!hasCurl) leaveOut("curl", "the shell samples of the README get their answers")

describe.skipIf(!hasCurl)("the shell samples of the README", () => {
  it.scopedLive("get the answers of their comments from the reference server", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const samples = shellSamples(read("README.md"))
      assert.isAbove(samples.length, 0)
      for (const { command, line, status, words } of samples) {
        const script = `${curl}; U=127.0.0.1:${port}/v1/init-image; ${command}`
        const { stdout } = yield* Effect.promise(() => run("bash", ["-c", script]))
        const [body = "", answered] = stdout.split(/\n(?=\d+$)/)
        assert.strictEqual(Number(answered), status, `README.md:${line}\n${stdout}`)
        for (const word of words) assert.include(body, word, `README.md:${line}`)
      }
    }))
})

describe("the documents", () => {
  const documents = ["README.md", "src/README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md"]

  it("link to existing files and headings", () => {
    for (const document of documents) {
      const text = read(document)
      for (const link of linksOf(text)) {
        const [file = "", anchor] = link.split("#")
        const target = file === "" ? document : path.join(path.dirname(document), file)
        assert(fs.existsSync(path.join(root, target)), `${document}: ${link}`)
        if (anchor !== undefined) assert.include(anchorsOf(read(target)), anchor, `${document}: ${link}`)
      }
    }
  })

  it("show in Python the worker that a test runs", () => {
    const [, sample = ""] = /^```python\n(.*?)^```/ms.exec(read("README.md")) ?? []
    const withoutComments = sample.replace(/ {2}#.*$/gm, "")
    assert.include(withoutComments, "requests.get")
    assert.include(read("test/examples/worker.py"), withoutComments)
  })

  it("list every heading of the README in its table of contents, on one page of at most 440 lines", () => {
    const text = read("README.md")
    const [, ...sections] = anchorsOf(text.replace(/^```.*?^```/gms, ""))
    const contents = text.split("\n").find((line) => line.startsWith("**Contents:**")) ?? ""
    assert.deepStrictEqual(linksOf(contents), sections.map((anchor) => `#${anchor}`))
    assert.isAtMost(text.split("\n").length, 440)
  })
})

describe("the check of the samples", () => {
  const markdown = [
    "Text",
    "```ts",
    "import { ImageFormat } from \"session-init-image\"",
    "",
    "const wrong: number = ImageFormat.png.extension",
    "```",
    "```json",
    "{}",
    "```",
    "- item",
    "",
    "  ```ts run",
    "  import * as ImageFormat from \"session-init-image/ImageFormat\"",
    "  process.exit(ImageFormat.png.mime === \"image/png\" ? 7 : 1)",
    "  ```"
  ].join("\n")
  const source = [
    "/** No sample. */",
    "/**",
    " * @example",
    " * ```ts",
    " * import * as base64 from \"session-init-image/internal/persist/base64\"",
    " * ```",
    " */",
    "export const x = 1"
  ].join("\n")

  it("finds the blocks of Markdown and of doc comments and the mark `run`", () => {
    assert.deepStrictEqual(
      [...fromMarkdown("a.md", markdown), ...fromDocComments("src/b.ts", source)].map(({ code, ...where }) => ({
        ...where,
        lines: code.split("\n").length
      })),
      [
        { file: "a.md", line: 3, run: false, lines: 3 },
        { file: "a.md", line: 13, run: true, lines: 2 },
        { file: "src/b.ts", line: 5, run: false, lines: 1 }
      ]
    )
    assert.throws(() => fromMarkdown("a.md", "```ts\nconst x = 1"), "a.md:1")
  })

  it("reports the file and line of an error and resolves no internal module", async () => {
    const output = await typeCheck("broken", [
      ...fromMarkdown("a.md", markdown),
      ...fromDocComments("src/b.ts", source)
    ])
    assert.deepStrictEqual(output.match(/^\S.*?: error TS\d+/gm), [
      "a.md:5 (column 7 of the sample): error TS2322",
      "src/b.ts:5 (column 25 of the sample): error TS2307"
    ])
  })

  it("reports the exit code of a sample", async () => {
    const [, sample] = fromMarkdown("a.md", markdown)
    assert(sample !== undefined)
    const { output, status } = await execute(sample)
    assert.strictEqual(status, 7, output)
  })
})

describe("the doc comments", () => {
  const since = /^\s*\*? ?@since \d+\.\d+\.\d+$/m
  const category = /^\s*\*? ?@category \S.*$/m

  const undocumented = (file: string, text: string): Array<string> =>
    exportsOf(file, text)
      .filter(({ doc }) => doc === undefined || !(/@internal/.test(doc) || (since.test(doc) && category.test(doc))))
      .map(({ line, name }) => `${file}:${line} ${name}`)

  it("of every public export have @since and @category", () => {
    assert.deepStrictEqual(publicModules.flatMap((file) => undocumented(file, read(file))), [])
    for (const file of publicModules) {
      assert.isAbove(exportsOf(file, read(file)).length, 0, file)
    }
  })

  it("of every public module have a summary and @since", () => {
    for (const file of publicModules) {
      const [header = ""] = /^\/\*\*(?:(?!\*\/).)*\*\/\n/s.exec(read(file)) ?? []
      assert.match(header, since, file)
      assert.match(header, /^ \* \w.*\.?$/m, file)
    }
  })

  const untagged = (file: string, text: string): Array<string> =>
    exportsOf(file, text)
      .filter(({ doc = "", isFunctionConst }) => isFunctionConst && !/@function\b/.test(doc))
      .map(({ line, name }) => `${file}:${line} ${name}`)

  it("of a const of a function type have @function, without which TypeDoc lists it as a variable", () => {
    assert.deepStrictEqual(publicModules.flatMap((file) => untagged(file, read(file))), [])
    assert.deepStrictEqual(
      untagged(
        "src/a.ts",
        [
          "export const bare: (n: number) => number = f",
          "/** @function */\nexport const tagged: <A>(a: A) => A = f",
          "/** Dual. */\nexport const dual: {\n  (n: number): number\n} = f",
          "export const value: Map<string, () => void> = m"
        ].join("\n")
      ),
      ["src/a.ts:1 bare", "src/a.ts:5 dual"]
    )
  })

  it("are reported if tags are missing", () => {
    const tags = "/**\n * @since 0.1.0\n * @category models\n */\n"
    assert.deepStrictEqual(
      undocumented(
        "src/a.ts",
        [
          `${tags}export const fine = 1`,
          "/** @internal */\nexport const internal = 1",
          "export const bare = 1",
          "/** @since 0.1.0 */\nexport interface OnlySince {}",
          `${tags}const between = 1\nexport class Far {}`,
          `export type {\n${tags}Listed,\nUnlisted } from "./b.js"`
        ].join("\n")
      ).map((found) => found.split(" ")[1]),
      ["bare", "OnlySince", "Far", "Unlisted"]
    )
    assert.throws(() => exportsOf("src/a.ts", "export default 1"), "src/a.ts:1")
  })
})
