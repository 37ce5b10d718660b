/** A TypeScript code block in a document. */
export interface Snippet {
  readonly file: string
  /** Line of the code's first line, from 1. */
  readonly line: number
  readonly code: string
  /** Whether the info string is `ts run`: the block is also run. */
  readonly run: boolean
}

const fence = /^([ \t]*)```(ts|typescript)(?:[ \t]+(run))?[ \t]*$/

const fromLines = (file: string, lines: ReadonlyArray<string>, firstLine: number): Array<Snippet> => {
  const snippets: Array<Snippet> = []
  for (let i = 0; i < lines.length; i++) {
    const [opening, indent = "", , run] = fence.exec(lines[i] ?? "") ?? []
    if (opening === undefined) continue
    const start = i + 1
    const end = lines.findIndex((line, at) => at >= start && line.trim() === "```")
    if (end === -1) throw new Error(`${file}:${firstLine + i}: unterminated code block`)
    snippets.push({
      file,
      line: firstLine + start,
      code: lines.slice(start, end).map((line) => line.startsWith(indent) ? line.slice(indent.length) : line).join(
        "\n"
      ),
      run: run !== undefined
    })
    i = end
  }
  return snippets
}

/** Returns the TypeScript blocks of a Markdown text. */
export const fromMarkdown = (file: string, text: string): Array<Snippet> => fromLines(file, text.split("\n"), 1)

/** Returns the TypeScript blocks in the doc comments of a source text. */
export const fromDocComments = (file: string, text: string): Array<Snippet> =>
  Array.from(text.matchAll(/\/\*\*.*?\*\//gs)).flatMap(({ 0: comment, index }) =>
    fromLines(
      file,
      comment.split("\n").map((line) => line.replace(/^\s*\* ?/, "")),
      text.slice(0, index).split("\n").length
    )
  )

/** An export and the doc comment directly before it. */
export interface Export {
  readonly name: string
  readonly line: number
  readonly doc: string | undefined
  /** Whether it is a `const` with the annotation of a function type, which TypeDoc takes for a variable. */
  readonly isFunctionConst: boolean
}

const functionConst = /^export const [\w$]+: (?:[(<]|\{\s*[(<])/

const docBefore = (text: string): string | undefined => /\/\*\*(?:(?!\*\/).)*\*\/\s*$/s.exec(text)?.[0]

/**
 * Returns the named exports of a source text. Throws on an unknown form of export, so that every export is checked.
 */
export const exportsOf = (file: string, text: string): Array<Export> =>
  Array.from(text.matchAll(/^export\b.*$/gm)).flatMap(({ 0: statement, index }) => {
    const lineAt = (offset: number) => text.slice(0, offset).split("\n").length
    const declared =
      /^export (?:declare )?(?:abstract )?(?:const|let|class|interface|type|async function|function\*?|enum|namespace) ([\w$]+)/
        .exec(statement)?.[1]
    if (declared !== undefined) {
      return [{
        name: declared,
        line: lineAt(index),
        doc: docBefore(text.slice(0, index)),
        isFunctionConst: functionConst.test(text.slice(index))
      }]
    }
    const [list, head = "", items = ""] = /^(export (?:type )?\{)([^}]*?)\}/.exec(text.slice(index)) ?? []
    if (list === undefined) throw new Error(`${file}:${lineAt(index)}: unknown form of export: ${statement}`)
    const start = index + head.length
    const itemsOnly = items.replace(/\/\*\*.*?\*\//gs, (comment) => " ".repeat(comment.length))
    return Array.from(itemsOnly.matchAll(/(?:[\w$]+\s+as\s+)?([\w$]+)\s*(?:,|$)/g)).map((item) => ({
      name: item[1] ?? "",
      line: lineAt(start + item.index),
      doc: docBefore(items.slice(0, item.index)),
      isFunctionConst: false
    }))
  })

/** A shell command of a document and the answer that its comment promises. */
export interface ShellSample {
  readonly line: number
  readonly command: string
  readonly status: number
  /** Words of the answer: the error's tag, then its reason or fields. */
  readonly words: ReadonlyArray<string>
}

/** Returns the lines of a Markdown text of the form `command # 400 Tag, field`. */
export const shellSamples = (text: string): Array<ShellSample> =>
  text.split("\n").flatMap((line, index) => {
    const [, command, status, words] = /^(.*\bcurl .*) # (\d{3}) (.+)$/.exec(line) ?? []
    return command === undefined || words === undefined
      ? []
      : [{ line: index + 1, command, status: Number(status), words: words.split(/[ ,]+/) }]
  })

const anchorOf = (heading: string): string =>
  heading.toLowerCase().replace(/[^\p{L}\p{N}\- ]/gu, "").replaceAll(" ", "-")

/** Returns the anchors of the headings of a Markdown text, as GitHub makes them. */
export const anchorsOf = (text: string): Array<string> =>
  Array.from(text.matchAll(/^#+ (.+)$/gm), ([, heading = ""]) => anchorOf(heading))

/** Returns the targets of the links and images of a Markdown text that are not URLs. */
export const linksOf = (text: string): Array<string> =>
  Array.from(text.replace(/^```.*?^```/gms, "").matchAll(/\]\(([^)\s]+)\)/g), ([, target = ""]) => target)
    .filter((target) => !/^\w+:/.test(target))
