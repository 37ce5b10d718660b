/** Sessions whose images are in a store: two hosts, each with files of its own. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import { readFileSync, utimesSync } from "node:fs"
import { join } from "node:path"
import { InitImageApi, type SessionInitImage } from "../../src/index.js"
import * as InitImageStore from "../../src/InitImageStore.js"
import { Api, put, putImage, request, serveApi } from "../utils/apis.js"
import { list, makeDirectory } from "../utils/directory.js"
import { pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { payloadOfSize } from "../utils/slots.js"
import { collecting } from "../utils/spools.js"
import { eventually } from "../utils/webSocketClient.js"

/** A store in a directory that the hosts share. */
const makeStore = Effect.gen(function*() {
  const directory = yield* makeDirectory
  const context = yield* Layer.build(InitImageStore.layerFileSystem({ directory, timeToLive: "1 hour" }))
  return { directory, store: Context.get(context, InitImageStore.InitImageStore) }
})

/** Serves a host's API. */
const serveHost = Effect.fnUntraced(function*(store: InitImageStore.Store, log: Array<string> = []) {
  const directory = yield* makeDirectory
  const served = yield* serveApi(
    HttpApiBuilder.api(Api).pipe(
      Layer.provide(InitImageApi.layer(Api, { directory })),
      Layer.provideMerge(InitImageApi.layerSessionsStore({ directory })),
      Layer.provide(Layer.succeed(InitImageStore.InitImageStore, store)),
      Layer.provide(collecting(log))
    )
  )
  return { ...served, files: () => list(directory) }
})

const makeHosts = Effect.gen(function*() {
  const { directory, store } = yield* makeStore
  const hosts = [yield* serveHost(store), yield* serveHost(store)] as const
  return { hosts, directory, store }
})

/** Makes the store older than its time to live. */
const age = (directory: string) => {
  const time = Date.now() / 1000 - 2 * 3600
  for (const name of list(directory)) utimesSync(join(directory, name), time, time)
}

/** A store of which some operations fail. */
const failing = (store: InitImageStore.Store, operations: ReadonlyArray<"put" | "get" | "remove">) => {
  const fail = (operation: "put" | "get" | "remove") =>
    new InitImageStore.StoreError({ operation, reason: "Unavailable" })
  const named = {
    put: operations.includes("put") ? () => fail("put") : store.named.put,
    get: operations.includes("get") ? () => fail("get") : store.named.get,
    remove: operations.includes("remove") ? () => fail("remove") : store.named.remove
  }
  return { ...store, named }
}

const sizeOf = (image: Option.Option<SessionInitImage.SessionInitImage>): number | undefined =>
  Option.isSome(image) ? readFileSync(image.value.path).length : undefined

/** A session's slot in a separate scope, which `end` closes. */
const openSlot = Effect.fnUntraced(function*(sessions: InitImageApi.SessionsService, own: boolean) {
  const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
  const slot = yield* Scope.extend(
    Effect.flatMap(sessions.slot("a"), (slot) => own ? slot.own : Effect.succeed(slot)),
    scope
  )
  return { slot, end: Scope.close(scope, Exit.void) }
})

describe("InitImageApi.layerSessionsStore", () => {
  it.scopedLive("a picture that is put through one host is read and deleted through any", () =>
    Effect.gen(function*() {
      const { directory, hosts } = yield* makeHosts
      for (let i = 0; i < 6; i++) {
        const [one, other] = i % 2 === 0 ? hosts : [hosts[1], hosts[0]]
        const answer = yield* put(one.url, JSON.stringify(payloadOf("image/png", pngOfSize(1000 + i), "écran.png")))
        assert.deepInclude(JSON.parse(answer.text), { bytes: 1000 + i, display_name: "écran.png" })
        for (const { url } of [other, one, other]) {
          const got = yield* request(url)
          assert.strictEqual(got.status, 200)
          assert.isTrue(got.body.equals(pngOfSize(1000 + i)))
          assert.include(got.headers.get("content-disposition"), "filename*=UTF-8''%C3%A9cran.png")
        }
      }
      assert.strictEqual((yield* request(hosts[0].url, {}, "b")).status, 404)
      assert.strictEqual((yield* request(hosts[0].url, { method: "DELETE" })).status, 204)
      for (const { url } of hosts) assert.strictEqual((yield* request(url)).status, 404)
      yield* putImage(hosts[1].url, pngOfSize(500))
      assert.strictEqual((yield* put(hosts[0].url, "null")).status, 204)
      for (const { url } of hosts) assert.strictEqual((yield* request(url)).status, 404)
      yield* eventually(() => assert.deepStrictEqual(hosts.flatMap(({ files }) => files()), []))
      assert.deepStrictEqual(list(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("takes the SHA-256 of pictures as they are written", () =>
    Effect.gen(function*() {
      const { store } = yield* makeStore
      const taken: Array<string | undefined> = []
      const named: InitImageStore.NamedImages["put"] = (name, image) => {
        taken.push(image.sha256)
        return store.named.put(name, image)
      }
      const { url } = yield* serveHost({ ...store, named: { ...store.named, put: named } })
      yield* putImage(url, pngOfSize(1000))
      yield* put(url, JSON.stringify(payloadOf("image/png", pngOfSize(1001))))
      assert.deepStrictEqual(
        taken,
        [1000, 1001].map((size) => createHash("sha256").update(pngOfSize(size)).digest("hex"))
      )
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("a refused picture and one that cannot be stored keep the old one", () =>
    Effect.gen(function*() {
      const { hosts: [one, other], store } = yield* makeHosts
      yield* putImage(one.url, pngOfSize(1000))
      assert.strictEqual((yield* putImage(other.url, pngOfSize(2000).subarray(0, 1500))).status, 422)
      const log: Array<string> = []
      const broken = yield* serveHost(failing(store, ["put"]), log)
      const { status, text } = yield* putImage(broken.url, pngOfSize(3000))
      assert.deepStrictEqual([status, JSON.parse(text)._tag], [500, "InternalServerError"])
      assert.match(log.join("\n"), /image store does not answer/)
      for (const { url } of [one, other, broken]) assert.lengthOf((yield* request(url)).body, 1000)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("a store that does not answer is a 500 without a reason for GET, HEAD and DELETE", () =>
    Effect.gen(function*() {
      const { hosts: [one], store } = yield* makeHosts
      yield* putImage(one.url, pngOfSize(1000))
      const log: Array<string> = []
      const { files, url } = yield* serveHost(failing(store, ["get", "remove"]), log)
      for (const method of ["GET", "DELETE"]) {
        const { status, text } = yield* request(url, { method })
        assert.deepStrictEqual([status, JSON.parse(text)], [500, {
          _tag: "InternalServerError",
          message: "The server failed to handle the request."
        }])
      }
      assert.strictEqual((yield* request(url, { method: "HEAD" })).status, 500)
      assert.lengthOf(log, 3)
      assert.deepStrictEqual(files(), [])
      assert.lengthOf((yield* request(one.url)).body, 1000)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("a host fetches an image once, and again only when another has replaced it", () =>
    Effect.gen(function*() {
      const { store } = yield* makeStore
      let fetches = 0
      const counting: InitImageStore.Store = {
        ...store,
        fetchScoped: (reference, options) =>
          Effect.suspend(() => {
            fetches += 1
            return store.fetchScoped(reference, options)
          })
      }
      const one = yield* serveHost(counting)
      const other = yield* serveHost(counting)
      yield* putImage(one.url, pngOfSize(1000))
      yield* request(one.url)
      assert.strictEqual(fetches, 0)
      const answers = yield* Effect.all(Array.from({ length: 8 }, () => request(other.url)), { concurrency: 8 })
      assert.deepStrictEqual(answers.map(({ body }) => body.length), Array.from(answers, () => 1000))
      assert.strictEqual(fetches, 1)
      yield* putImage(one.url, pngOfSize(2000))
      yield* request(one.url)
      for (let i = 0; i < 3; i++) assert.lengthOf((yield* request(other.url)).body, 2000)
      assert.strictEqual(fetches, 2)
      yield* eventually(() => assert.deepStrictEqual([one.files().length, other.files().length], [1, 1]))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("a session that no host uses ends after the store's time to live", () =>
    Effect.gen(function*() {
      const { directory, hosts: [one, other] } = yield* makeHosts
      yield* putImage(one.url, pngOfSize(1000))
      age(directory)
      assert.strictEqual((yield* request(other.url)).status, 404)
      assert.strictEqual((yield* request(one.url)).status, 404)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("a lease keeps its file while another host replaces and deletes the image", () =>
    Effect.gen(function*() {
      const { hosts: [one, other] } = yield* makeHosts
      yield* putImage(one.url, pngOfSize(1000))
      const { slot } = yield* openSlot(other.sessions, false)
      const lease = yield* slot.lease
      yield* putImage(one.url, pngOfSize(2000))
      assert.strictEqual(sizeOf(yield* slot.lease), 2000)
      yield* request(one.url, { method: "DELETE" })
      assert.isTrue(Option.isNone(yield* slot.lease))
      assert.strictEqual(sizeOf(lease), 1000)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("a slot sets and clears the image of all hosts", () =>
    Effect.gen(function*() {
      const { hosts: [one, other] } = yield* makeHosts
      const { slot } = yield* openSlot(one.sessions, false)
      yield* slot.set(payloadOfSize(1000))
      assert.lengthOf((yield* request(other.url)).body, 1000)
      yield* slot.set(null)
      assert.strictEqual((yield* request(other.url)).status, 404)
      yield* slot.set(payloadOfSize(2000))
      yield* slot.clear
      assert.strictEqual((yield* request(other.url)).status, 404)
      yield* Effect.flatMap(one.sessions.slot("a"), (slot) => slot.set(payloadOfSize(3000)))
      yield* one.sessions.end("a")
      assert.strictEqual((yield* request(other.url)).status, 404)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("an owned image ends with its owner, and one that another host has put stays", () =>
    Effect.gen(function*() {
      const { directory, hosts: [one, other] } = yield* makeHosts
      const first = yield* openSlot(one.sessions, true)
      yield* first.slot.set(payloadOfSize(1000))
      assert.lengthOf((yield* request(other.url)).body, 1000)
      yield* first.end
      assert.strictEqual((yield* request(other.url)).status, 404)
      assert.deepStrictEqual(list(directory), [])
      yield* eventually(() => assert.deepStrictEqual([...one.files(), ...other.files()], []))

      const second = yield* openSlot(one.sessions, true)
      yield* second.slot.set(payloadOfSize(1000))
      yield* putImage(other.url, pngOfSize(2000))
      yield* second.end
      assert.lengthOf((yield* request(one.url)).body, 2000)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("reads are whole, and never older than a put that had ended before", () =>
    Effect.gen(function*() {
      const { hosts } = yield* makeHosts
      let acknowledged = 0
      const writer = Effect.gen(function*() {
        for (let n = 1; n <= 40; n++) {
          assert.strictEqual((yield* putImage(hosts[n % 2 === 0 ? 0 : 1].url, pngOfSize(1000 + n))).status, 200)
          acknowledged = n
        }
      })
      const reader = (url: string) =>
        Effect.gen(function*() {
          while (acknowledged < 40) {
            const least = acknowledged
            const { body, status } = yield* request(url)
            if (status === 404 && least === 0) continue
            assert.strictEqual(status, 200)
            assert.isAtLeast(body.length - 1000, least)
            assert.isTrue(body.equals(pngOfSize(body.length)))
          }
        })
      yield* Effect.all([writer, reader(hosts[0].url), reader(hosts[1].url), reader(hosts[1].url)], {
        concurrency: "unbounded"
      })
      yield* eventually(() => assert.isAtMost(Math.max(...hosts.map(({ files }) => files().length)), 1))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.effect("refuses an idle time that makes no sense", () =>
    Effect.gen(function*() {
      const layer = InitImageApi.layerSessionsStore({ idleTimeToLive: -1 })
      const { store } = yield* makeStore
      const exit = yield* Effect.exit(
        Layer.build(Layer.provide(layer, Layer.succeed(InitImageStore.InitImageStore, store)))
      )
      assert.isTrue(Exit.isFailure(exit) && String(exit.cause).includes("InitImageApi.layerSessionsStore"))
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))
})
