import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as leftovers from "../../../../src/internal/spool/leftovers.js"
import { makeDisk } from "../../../utils/fakeDisk.js"
import { collecting, diskError, openScoped } from "../../../utils/spools.js"

const cause = Cause.fail(diskError("remove", "EBUSY"))

/** A disk on which the files in `busy` cannot be removed. */
const makeLeftovers = Effect.gen(function*() {
  const busy = new Set<string>()
  const removed: Array<string> = []
  const { fs } = makeDisk({
    remove: (path) =>
      Effect.suspend(() => {
        if (busy.has(path)) return Effect.fail(diskError("remove", "EACCES"))
        removed.push(path)
        return Effect.void
      }),
    exists: () => Effect.succeed(true)
  })
  const { end, value } = yield* openScoped(leftovers.make(fs))
  return { busy, removed, end, ...value }
})

describe("files that could not be removed", () => {
  it.scoped("are removed by the first sweep that can, once, and are logged without their path", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const { add, busy, removed, sweep } = yield* makeLeftovers
      yield* sweep
      for (const path of ["/a", "/b"]) {
        busy.add(path)
        yield* add(path, cause)
      }
      yield* sweep
      assert.deepStrictEqual(removed, [])
      busy.delete("/b")
      yield* sweep
      assert.deepStrictEqual(removed, ["/b"])
      busy.clear()
      yield* sweep
      yield* sweep
      assert.deepStrictEqual(removed, ["/b", "/a"])
      assert.lengthOf(lines, 2)
      for (const line of lines) {
        assert.include(line, "An init image could not be removed yet; its spool tries again")
        assert.include(line, "EBUSY")
        assert.notInclude(line, "path")
      }
    }).pipe(Effect.provide(collecting(lines)))
  })

  it.scoped("are tried a last time when the spool closes, and those that stay are logged with their path", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const { add, busy, end, removed } = yield* makeLeftovers
      yield* add("/a", cause)
      yield* add("/b", cause)
      busy.add("/b")
      lines.length = 0
      yield* end
      assert.deepStrictEqual(removed, ["/a"])
      assert.lengthOf(lines, 1)
      assert.include(lines[0], "path=/b")
      assert.include(lines[0], "EACCES")
      yield* add("/c", cause)
      assert.include(lines[1], "path=/c")
    }).pipe(Effect.provide(collecting(lines)))
  })

  it.scoped("are at most 1000; further ones are logged with their path", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const { add, removed, sweep } = yield* makeLeftovers
      for (let i = 0; i < 1001; i++) yield* add(`/${i}`, cause)
      assert.include(lines.at(-1), "path=/1000")
      yield* sweep
      assert.lengthOf(removed, 1000)
    }).pipe(Effect.provide(collecting(lines)))
  })
})
