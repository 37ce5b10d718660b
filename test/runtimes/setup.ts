import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert } from "@effect/vitest"
import { runtimeOf } from "./plan.js"

// A test runner that starts its workers with another program would test that program.
const { key, version } = runtimeOf(process.env["RUNTIMES_NAME"])
assert.strictEqual(process.versions[key], version, `not ${key}`)

const path = process.env["RUNTIMES_CONTEXT"]
if (path !== undefined) {
  const context: { readonly layer: unknown } = await import(path)
  assert.strictEqual<unknown>(NodeContext.layer, context.layer, "not the layer of the platform")
}
