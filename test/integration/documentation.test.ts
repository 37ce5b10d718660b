import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { build } from "esbuild"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { exportsOf, fromDocComments, fromMarkdown, type Snippet } from "../utils/snippets.js"

const root = path.resolve(import.meta.dirname, "../..")

const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

const sources = fs.readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => path.join("src", file))
  .sort()
const publicModules = sources.filter((file) =>
  (path.dirname(file) === "src" && path.basename(file) !== "index.ts")
  || path.dirname(file) === path.join("src", "browser")
)

const temporary = fs.mkdtempSync(path.join(tmpdir(), "session-init-image-documentation-"))

/** Named so that where a snippet comes from can be told from its file's name. */
const snippetFile = (snippet: Snippet): string => `${snippet.file.replaceAll(path.sep, "+")}+${snippet.line}.ts`

/** What `tsc` says of a snippet, with the file and line that it comes from in place of the snippet's own. */
const locate = (output: string): string =>
  output.replace(
    /^(\S+)\+(\d+)\.ts\((\d+),(\d+)\)/gm,
    (_, file: string, first: string, line: string, column: string) =>
      `${file.replaceAll("+", path.sep)}:${Number(first) + Number(line) - 1} (column ${column} of the sample)`
  )

/** The package's own exports, led to its sources: what is not exported cannot be imported by a sample either. */
const paths = (): Record<string, string> =>
  Object.fromEntries(
    [path.join("src", "index.ts"), ...publicModules].map((file) => [
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

const typeCheck = (name: string, snippets: ReadonlyArray<Snippet>): string => {
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
  const { stderr, stdout } = spawnSync(tsc, ["--pretty", "false", "-p", `${name}.json`], {
    cwd: temporary,
    encoding: "utf8"
  })
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
  const { status, stderr, stdout } = spawnSync(process.execPath, [file], {
    cwd: temporary,
    encoding: "utf8",
    timeout: 20_000
  })
  return { status, output: stdout + stderr }
}

describe("the samples", () => {
  const readme = fs.existsSync(path.join(root, "README.md")) ? fromMarkdown("README.md", read("README.md")) : []
  const comments = sources.flatMap((file) => fromDocComments(file, read(file)))

  it("stand in the README and in doc comments", () => {
    assert.isAbove(readme.length, 0)
    assert.isAbove(comments.length, 0)
  })

  it("type-check as they stand, under the package's own settings", () => {
    assert.strictEqual(typeCheck("samples", [...readme, ...comments]), "")
  })

  it("run to a good end where they are marked `ts run`", async () => {
    for (const snippet of [...readme, ...comments].filter((snippet) => snippet.run)) {
      const { output, status } = await execute(snippet)
      assert.strictEqual(status, 0, `${snippet.file}:${snippet.line}\n${output}`)
    }
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
    "/** None. */",
    "/**",
    " * @example",
    " * ```ts",
    " * import * as base64 from \"session-init-image/internal/base64\"",
    " * ```",
    " */",
    "export const x = 1"
  ].join("\n")

  it("finds the blocks of Markdown and of doc comments, and says which are to run", () => {
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

  it("tells the file and line of what does not compile, and knows no internal module", () => {
    const output = typeCheck("broken", [...fromMarkdown("a.md", markdown), ...fromDocComments("src/b.ts", source)])
    assert.deepStrictEqual(output.match(/^\S.*?: error TS\d+/gm), [
      "a.md:5 (column 7 of the sample): error TS2322",
      "src/b.ts:5 (column 25 of the sample): error TS2307"
    ])
  })

  it("sees the exit code of what it runs", async () => {
    const [, toRun] = fromMarkdown("a.md", markdown)
    assert(toRun !== undefined)
    const { output, status } = await execute(toRun)
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

  it("say of every public export since when there is such a thing and what kind of thing it is", () => {
    assert.deepStrictEqual(publicModules.flatMap((file) => undocumented(file, read(file))), [])
    for (const file of publicModules) {
      assert.isAbove(exportsOf(file, read(file)).length, 0, file)
    }
  })

  it("say of every public module what it is for, and since when there is one", () => {
    for (const file of publicModules) {
      const [header = ""] = /^\/\*\*(?:(?!\*\/).)*\*\/\n/s.exec(read(file)) ?? []
      assert.match(header, since, file)
      assert.match(header, /^ \* \w.*\.?$/m, file)
    }
  })

  it("are missed where they are not", () => {
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
