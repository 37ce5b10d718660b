import { fork } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import type { Tasks } from "./child.js"

type Result<Name extends keyof Tasks> = Awaited<ReturnType<Tasks[Name]>>

/** Runs a task in a separate process. */
export const inChild = async <Name extends keyof Tasks>(
  name: Name,
  options: Parameters<Tasks[Name]>[0]
): Promise<Result<Name>> => {
  const child = fork(path.join(import.meta.dirname, "child.js"), [name, JSON.stringify(options)], {
    execArgv: ["--expose-gc"],
    // JSON would turn NaN into null.
    serialization: "advanced"
  })
  let result: { readonly value: Result<Name> } | undefined
  // `child.ts` sends only the result.
  child.on("message", (value) => result = { value: value as Result<Name> })
  await once(child, "exit")
  if (result === undefined) throw new Error(`${name} has failed`)
  return result.value
}
