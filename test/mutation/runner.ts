import { test } from "vitest"
import { VitestTestRunner } from "vitest/runners"

/** A mutant for which a module cannot even be loaded is killed: without a failing test, Stryker takes it for a survivor. */
export default class extends VitestTestRunner {
  override async importFile(path: string, source: "collect" | "setup"): Promise<unknown> {
    try {
      return await super.importFile(path, source)
    } catch (error) {
      if (source === "setup") throw error
      return test("is loaded", () => {
        throw error
      })
    }
  }
}
