import { test } from "vitest"
import { VitestTestRunner } from "vitest/runners"

/** Adds a failing test where a mutant prevents a module from loading: Stryker counts a run without tests as survived. */
export default class extends VitestTestRunner {
  override async importFile(path: string, source: "collect" | "setup"): Promise<unknown> {
    try {
      return await super.importFile(path, source)
    } catch (error) {
      if (source === "setup") throw error
      return test("the module loads", () => {
        throw error
      })
    }
  }
}
