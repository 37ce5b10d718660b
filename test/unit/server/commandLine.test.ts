import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import * as commandLine from "../../../src/server/commandLine.js"

describe("the command line", () => {
  it("serves with the options given, and with the environment's variables where there are none", () => {
    assert.deepStrictEqual(commandLine.parse([]), { _tag: "Serve", env: new Map(), open: false })
    assert.deepStrictEqual(commandLine.parse(["--port", "0", "--host=::1", "--open"]), {
      _tag: "Serve",
      env: new Map([["PORT", "0"], ["HOST", "::1"]]),
      open: true
    })
  })

  it("prints its usage, which names every option, and the package's version", () => {
    for (const option of ["--help", "-h"]) {
      assert.deepStrictEqual(commandLine.parse([option, "--open"]), { _tag: "Print", text: commandLine.usage })
    }
    for (const option of ["--port", "--host", "--open", "--version", "--help"]) {
      assert.include(commandLine.usage, option)
    }
    const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
      readonly version: string
    }
    assert.deepStrictEqual(commandLine.parse(["--version"]), { _tag: "Print", text: `${version}\n` })
  })

  it("refuses other options, arguments and values with the problem and its usage", () => {
    const refused = {
      "--prot 1": "--prot",
      "--port": "--port",
      "--port 65536": "--port must be a number from 0 to 65535",
      "--port 1e3": "--port must be a number from 0 to 65535",
      "--host=": "--host must not be empty",
      "--open=yes": "--open",
      "8080": "8080"
    }
    for (const [args, problem] of Object.entries(refused)) {
      const command = commandLine.parse(args.split(" "))
      assert(command._tag === "Refuse", args)
      assert.include(command.text.split("\n")[0] ?? "", problem)
      assert.include(command.text, commandLine.usage)
    }
  })
})
