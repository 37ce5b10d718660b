/** A block of TypeScript in a document, which its readers will copy. */
export interface Snippet {
  readonly file: string
  /** Of its first line, from 1. */
  readonly line: number
  readonly code: string
  /** Whether its info string is `ts run`: then it does not only compile but runs as it stands. */
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
    if (end === -1) throw new Error(`${file}:${firstLine + i}: a code block that does not end`)
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

/** The TypeScript blocks of a Markdown text. */
export const fromMarkdown = (file: string, text: string): Array<Snippet> => fromLines(file, text.split("\n"), 1)

/** The TypeScript blocks within the doc comments of a source text. */
export const fromDocComments = (file: string, text: string): Array<Snippet> =>
  Array.from(text.matchAll(/\/\*\*.*?\*\//gs)).flatMap(({ 0: comment, index }) =>
    fromLines(
      file,
      comment.split("\n").map((line) => line.replace(/^\s*\* ?/, "")),
      text.slice(0, index).split("\n").length
    )
  )

/** An export, and the doc comment that stands directly before it. */
export interface Export {
  readonly name: string
  readonly line: number
  readonly doc: string | undefined
}

const docBefore = (text: string): string | undefined => /\/\*\*(?:(?!\*\/).)*\*\/\s*$/s.exec(text)?.[0]

/**
 * What a source text exports by name. Throws at a form of export that it does not know, so that none goes unseen.
 */
export const exportsOf = (file: string, text: string): Array<Export> =>
  Array.from(text.matchAll(/^export\b.*$/gm)).flatMap(({ 0: statement, index }) => {
    const lineAt = (offset: number) => text.slice(0, offset).split("\n").length
    const declared =
      /^export (?:declare )?(?:abstract )?(?:const|let|class|interface|type|async function|function\*?|enum|namespace) ([\w$]+)/
        .exec(statement)?.[1]
    if (declared !== undefined) {
      return [{ name: declared, line: lineAt(index), doc: docBefore(text.slice(0, index)) }]
    }
    const [list, head = "", items = ""] = /^(export (?:type )?\{)([^}]*?)\}/.exec(text.slice(index)) ?? []
    if (list === undefined) throw new Error(`${file}:${lineAt(index)}: an export of unknown form: ${statement}`)
    const start = index + head.length
    const itemsOnly = items.replace(/\/\*\*.*?\*\//gs, (comment) => " ".repeat(comment.length))
    return Array.from(itemsOnly.matchAll(/(?:[\w$]+\s+as\s+)?([\w$]+)\s*(?:,|$)/g)).map((item) => ({
      name: item[1] ?? "",
      line: lineAt(start + item.index),
      doc: docBefore(items.slice(0, item.index))
    }))
  })
