/** Two gateways behind a balancer that alternates, and a worker; they share an object store and no file system. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import { executable, launch } from "../../integration/browser/chromium.js"
import { pathOf, putImage, request } from "../../utils/apis.js"
import { isInstalled } from "../../utils/cephTests.js"
import { leaveOut } from "../../utils/peers.js"
import { picture } from "../../utils/pictures.js"
import { eventually } from "../../utils/webSocketClient.js"
import { make } from "./gateways.js"

let number = 0
const step = (text: string) => Effect.sync(() => void process.stderr.write(`${++number}. ${text}\n`))

/** Begins an upload of which the last byte never comes. */
const beginUpload = (url: string, bytes: Buffer, session: string) =>
  Effect.sync(() => {
    const headers = { "content-type": "image/png", "content-length": bytes.length }
    const upload = Http.request(url + pathOf(session), { method: "PUT", headers })
    const ended = new Promise<void>((resolve) => {
      upload.once("error", () => resolve())
      upload.once("response", (response) => {
        assert.notStrictEqual(response.statusCode, 200)
        resolve()
      })
    })
    upload.write(bytes.subarray(0, -1))
    return Effect.promise(() => ended)
  })

describe("gateways behind a balancer", () => {
  if (!isInstalled) {
    return leaveOut("Ceph", "a picture put through one gateway is read through another")
  }

  it.scopedLive("a picture put through one is read through the other and opened by the worker, whichever is killed", () =>
    Effect.gen(function*() {
      number = 0
      const { gateways, store, url, worker } = yield* make
      const [first, second] = gateways
      yield* step(`Ceph, two gateways (${first.url()}, ${second.url()}), a balancer (${url}) and a worker run`)

      const pictures = yield* Effect.promise(() =>
        Promise.all([400, 600, 800].map((width) => picture(width, 300).png().toBuffer()))
      )
      const [small, middle, large] = pictures as [Buffer, Buffer, Buffer]
      const shows = (session: string, bytes: Buffer) =>
        Effect.gen(function*() {
          // The balancer gives the requests to both gateways in turn.
          for (const origin of [url, url, first.url(), second.url()]) {
            const { body, headers, status } = yield* request(origin, {}, session)
            assert.strictEqual(status, 200)
            assert.strictEqual(headers.get("content-type"), "image/png")
            assert.isTrue(body.equals(bytes))
          }
        })
      const opens = (session: string, bytes: Buffer, width: number) =>
        Effect.promise(async () => {
          const answer = await fetch(`${worker.url()}/${session}`)
          assert.strictEqual(answer.status, 200, worker.output())
          assert.deepStrictEqual(await answer.json(), {
            width,
            height: 300,
            decoded: width * 300 * 3,
            bytes: bytes.length
          })
        })

      assert.strictEqual((yield* putImage(url, small, "a")).status, 200)
      yield* shows("a", small)
      yield* opens("a", small, 400)
      yield* step("a picture was put through the balancer, read through both gateways and opened by the worker")

      for (const [i, [gateway, other]] of [[first, second] as const, [second, first] as const].entries()) {
        const bytes = i === 0 ? middle : large
        assert.strictEqual((yield* putImage(gateway.url(), bytes, "b")).status, 200)
        const upload = yield* beginUpload(gateway.url(), small, "b")
        yield* eventually(() => assert.isAtLeast(gateway.files().length, 1))
        assert.strictEqual(yield* gateway.kill, "SIGKILL")
        yield* upload
        for (const origin of [url, url, other.url()]) {
          assert.isTrue((yield* request(origin, {}, "b")).body.equals(bytes))
          assert.isTrue((yield* request(origin, {}, "a")).body.equals(small))
        }
        yield* opens("b", bytes, i === 0 ? 600 : 800)
        yield* step(`gateway ${i + 1} was killed during an upload; the other one serves its pictures`)
        yield* gateway.restart
        yield* shows("b", bytes)
        yield* step(`gateway ${i + 1} runs again, and serves them too`)
      }

      assert.strictEqual(yield* worker.kill, "SIGKILL")
      yield* worker.restart
      yield* opens("a", small, 400)
      yield* step("the worker was killed, runs again and opens the pictures")

      if (executable === undefined) {
        process.stderr.write("Chromium is not installed: no browser has sent a picture.\n")
      } else {
        const browser = yield* launch
        const session = yield* Effect.promise(async () => {
          const page = await browser.newPage()
          await page.goto(url)
          await page.locator("#file").setInputFiles({
            name: "large.png",
            mimeType: "image/png",
            buffer: large
          })
          await page.locator("#session", { hasText: "Session open" }).waitFor()
          const link = String(await page.locator("#copy").getAttribute("href"))
          return decodeURIComponent(link.split("/")[2] ?? "")
        })
        yield* shows(session, large)
        yield* opens(session, large, 800)
        yield* step("a browser sent a picture over a WebSocket; both gateways serve it and the worker opens it")
        yield* Effect.promise(() => browser.close())
        yield* Effect.repeat(request(url, {}, session), { until: ({ status }) => status === 404 })
        // A gateway removes its copy of another gateway's session when it is asked for it.
        for (const gateway of gateways) {
          assert.strictEqual((yield* request(gateway.url(), {}, session)).status, 404)
        }
        yield* step("the browser has gone, and so has its picture")
      }

      for (const session of ["a", "b"]) {
        assert.strictEqual((yield* request(url, { method: "DELETE" }, session)).status, 204)
        for (const origin of [url, url]) assert.strictEqual((yield* request(origin, {}, session)).status, 404)
        assert.strictEqual((yield* Effect.promise(() => fetch(`${worker.url()}/${session}`))).status, 404)
      }
      assert.deepStrictEqual(yield* Effect.promise(() => store.keys()), [])
      assert.deepStrictEqual(yield* Effect.promise(() => store.uploads()), [])
      yield* eventually(() => assert.deepStrictEqual([...first.files(), ...second.files(), ...worker.files()], []))
      yield* step("the pictures were deleted: the store has no object, the gateways and the worker have no file")

      for (const gateway of gateways) assert.strictEqual(yield* gateway.stop, 0, gateway.output())
    }).pipe(Effect.provide(NodeContext.layer)))
})
