import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert } from "@effect/vitest"
import { runtimeOf } from "./plan.js"

// A tool that starts its workers with some other program would try that one, and say that all is well.
const { key, version } = runtimeOf(process.env["RUNTIMES_NAME"])
assert.strictEqual(process.versions[key], version, `not ${key}`)

const path = process.env["RUNTIMES_CONTEXT"]
if (path !== undefined) {
  const context: { readonly layer: unknown } = await import(path)
  assert.strictEqual<unknown>(NodeContext.layer, context.layer, "not the platform's own layer")
}
