/** Real HTTP clients send a picture to the reference server in each way, and read its refusals. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { uprightSize } from "../../utils/descriptions.js"
import { makeDirectory } from "../../utils/directory.js"
import { pngOfSize, webpOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { findCommand, findPython, leaveOut, output } from "../../utils/peers.js"
import { serve } from "../server/testServer.js"

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

interface Files {
  readonly url: string
  readonly picture: string
  readonly large: string
  readonly payload: string
}

/** The status and the body of: the bytes, a form, JSON, a form with a large picture, and a form with text for a file. */
type Send = (files: Files) => Promise<ReadonlyArray<string>>

const lines = (text: string): ReadonlyArray<string> => text.trim().split("\n")

/** A run for each request: `curl --next` would keep to the first request's method. */
const withCurl = (curl: string): Send => async ({ large, payload, picture, url }) => {
  const post = `${url}/v1/init-image`
  const runs = [
    ["-T", picture, `${url}/sessions/curl/init-image`],
    ["-F", "prompt=rain", "-F", `image=@${picture}`, post],
    ["-H", "Content-Type: application/json", "--data-binary", `@${payload}`, post],
    ["-F", `image=@${large}`, post],
    ["-F", "image=[object Object]", post]
  ]
  const answers: Array<string> = []
  for (const args of runs) {
    answers.push(await output(curl, ["-s", "-S", "-w", "{\"status\":%{http_code}}", ...args]))
  }
  return answers.map((answer) => answer.replace(/^(.*)\{"status":(\d+)\}$/s, "{\"status\":$2,\"body\":$1}"))
}

const withPython = (module: string) => (python: string): Send => async ({ large, payload, picture, url }) =>
  lines(await output(python, [here("send.py"), module, url, picture, large, payload]))

const withJava = (java: string): Send => async ({ large, payload, picture, url }) =>
  lines(await output(java, [here("Send.java"), url, picture, large, payload]))

const peers: ReadonlyArray<readonly [name: string, command: string | undefined, send: (command: string) => Send]> = [
  ["curl", findCommand(["curl"], ["--version"]), withCurl],
  ["Java's HttpClient", findCommand(["java"], ["--describe-module", "jdk.compiler"]), withJava],
  ["Python's requests", findPython("requests"), withPython("requests")],
  ["Python's httpx", findPython("httpx"), withPython("httpx")]
]

describe("a picture of a real client", () => {
  for (const [name, command, send] of peers) {
    const promise = `${name} sends a picture in each way and reads its refusals`
    if (command === undefined) {
      leaveOut(name, promise)
      continue
    }
    it.scopedLive(promise, () =>
      Effect.gen(function*() {
        const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "1000000" } })
        const directory = yield* makeDirectory
        const file = (name: string, content: string | Uint8Array) => {
          const path = join(directory, name)
          writeFileSync(path, content)
          return path
        }
        const picture = webpOfSize(5000)
        const answers = yield* Effect.promise(() =>
          send(command)({
            url: server.url,
            // A type that curl does not know by the file's name.
            picture: file("x.webp", picture),
            large: file("large.png", pngOfSize(8_000_000)),
            payload: file("payload.json", JSON.stringify(payloadOf("image/webp", picture, "x.webp")))
          })
        )
        const [raw, form, json, large, text] = answers.map((answer) => JSON.parse(answer))
        const description = { mime: "image/webp", bytes: 5000, ...uprightSize(1, 1) }
        assert.deepStrictEqual(raw, { status: 200, body: { ...description, display_name: "init.webp" } })
        for (const answer of [form, json]) {
          assert.deepStrictEqual(answer, { status: 200, body: { ...description, display_name: "x.webp" } })
        }
        assert.strictEqual(large.status, 413)
        assert.deepInclude(large.body, {
          _tag: "TooLarge",
          limit: 1_000_000,
          message: "The image is larger than the 1,000,000 bytes that are allowed."
        })
        assert.strictEqual(text.status, 400)
        assert.include(text.body, { _tag: "InvalidPayload", reason: "NotAFile", field: "image" })
      }).pipe(Effect.provide(NodeContext.layer)), 60_000)
  }
})
