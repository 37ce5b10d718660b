import { describe, it } from "@effect/vitest"
import * as floods from "../integration/server/floods.js"
import { receives413, variants } from "../integration/server/tooLarge.js"

const noTimeout = 0

describe("the server", () => {
  it.scopedLive(
    "closes the socket of a client that sends 20,000 invalid frames at once",
    () => floods.invalid(20_000),
    noTimeout
  )

  it.scopedLive(
    "serves other clients while one sends 100,000 frames without reading the answers",
    () => floods.unread(100_000),
    noTimeout
  )

  for (const variant of variants) {
    for (const megabytes of [60, 200]) {
      it.scopedLive(
        `lets a client that sends ${megabytes} MB before it reads receive its 413: ${variant.title}`,
        () => receives413(megabytes, variant),
        noTimeout
      )
    }
  }
})
