import { declareValuePlugin, PluginKind } from "@stryker-mutator/api/plugin"

/** Calls whose text arguments appear only in logs, traces and metric descriptions: no test observes a mutant of them. */
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
      if (isText) return "Text of a log, trace or metric description"
      return isKey(path, "captureStackTrace") ? "Affects only the cost of traces" : undefined
    }
  })
]
