import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { leaveOut } from "../../utils/peers.js"
import { serve } from "../server/testServer.js"
import { executable, launch } from "./chromium.js"

if (executable === undefined) leaveOut("Chromium", "the page of the API's document works in a browser")

describe.skipIf(executable === undefined)("the page of the API's document", () => {
  it.scopedLive("works under its content security policy", () =>
    Effect.gen(function*() {
      const { url } = yield* serve()
      const browser = yield* launch
      const page = yield* Effect.promise(() => browser.newPage())
      const problems: Array<string> = []
      page.on("pageerror", (error) => problems.push(String(error)))
      page.on("console", (message) => {
        if (message.text().includes("Content Security Policy")) problems.push(message.text())
      })
      yield* Effect.promise(async () => {
        await page.goto(`${url}/docs`)
        await page.locator(".opblock-delete").click()
        await page.locator(".try-out__btn").click()
        await page.locator(".opblock-delete input[type=text]").fill("a")
        await page.locator(".execute").click()
        await page.locator(".live-responses-table", { hasText: "204" }).waitFor()
      })
      assert.deepStrictEqual(problems, [])
    }))
})
