import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Mailbox from "effect/Mailbox"
import { InitImageSpool } from "../../src/index.js"
import type { Frames } from "../../src/server/frames.js"
import * as Session from "../../src/server/session.js"
import { makeDirectory } from "../utils/directory.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { imagesIn } from "./testServer.js"

const message = (type: string) => JSON.stringify({ type, initial_image: payloadOf("image/png", png()) })

describe("a session", () => {
  it.scopedLive("ends also when its socket closes while a replaced image is being removed", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const fs = yield* FileSystem.FileSystem
      const spool = yield* InitImageSpool.make({ directory })
      const removing = yield* Deferred.make<void>()
      const removed = yield* Deferred.make<void>()
      const slow = FileSystem.FileSystem.of({
        ...fs,
        remove: (path, options) =>
          Deferred.succeed(removing, void 0).pipe(
            Effect.zipRight(Deferred.await(removed)),
            Effect.zipRight(fs.remove(path, options))
          )
      })
      const inbox = yield* Mailbox.make<string>()
      const closed = yield* Deferred.make<void>()
      const frames: Frames = {
        take: Effect.orDie(inbox.take),
        send: () => Effect.void,
        close: () => Effect.void,
        closed: Deferred.await(closed),
        bytesRead: Effect.succeed(0)
      }
      const session = yield* Session.run(frames, { openingTimeout: "1 minute" }).pipe(
        Effect.provideService(InitImageSpool.InitImageSpool, spool),
        Effect.provideService(FileSystem.FileSystem, slow),
        Effect.fork
      )
      yield* inbox.offerAll([message("session_init_v2"), message("init_image_updated"), message("init_image_updated")])
      yield* Deferred.await(removing)
      yield* Deferred.succeed(closed, void 0)
      yield* Effect.sleep("20 millis")
      yield* Deferred.succeed(removed, void 0)
      yield* Effect.timeout(session.await, "10 seconds")
      assert.deepStrictEqual(imagesIn(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))
})
