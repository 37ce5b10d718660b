import { declareValuePlugin, PluginKind } from "@stryker-mutator/api/plugin"

/** What a mutant of would be seen by nobody but a reader of logs, of traces or of a metric's description. */
const isForReaders = (callee) =>
  callee.type === "MemberExpression" && callee.object.type === "Identifier" && (
    callee.object.name === "Effect" && /^(?:log|withSpan$|fn$)/.test(callee.property.name) ||
    callee.object.name === "Stream" && callee.property.name === "withSpan" ||
    callee.object.name === "Channel" && callee.property.name === "withSpan" ||
    callee.object.name === "telemetry" && callee.property.name === "withSpan" ||
    callee.object.name === "Symbol" && callee.property.name === "for"
  )

const isKey = (path, name) => path.parent?.type === "ObjectProperty" && path.parent.key.name === name

export const strykerPlugins = [
  declareValuePlugin(PluginKind.Ignore, "for-readers", {
    shouldIgnore(path) {
      const { node, parent } = path
      const isText = node.type === "StringLiteral" && (
        parent?.type === "CallExpression" && isForReaders(parent.callee) || isKey(path, "description")
      )
      if (isText) return "A text for readers"
      return isKey(path, "captureStackTrace") ? "What traces cost" : undefined
    }
  })
]
