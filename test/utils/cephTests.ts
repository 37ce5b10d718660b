/** Ceph for the tests of a file. */
import { afterAll, beforeAll, beforeEach } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as cephs from "./ceph.js"
import { findProgram } from "./peers.js"

export const isInstalled = cephs.programs.every((name) => findProgram([name]) !== undefined)

/** Runs a Ceph beside the tests of a `describe`. Its bucket is empty before each of them. */
export const useCeph = () => {
  let ceph: cephs.Ceph
  let bucket: ReturnType<typeof cephs.makeInspector>
  beforeAll(async () => {
    ceph = await cephs.start()
    bucket = cephs.makeInspector(ceph)
  }, 120_000)
  afterAll(() => ceph.stop())
  beforeEach(() => bucket.clear())
  return {
    /** The server; there in a test. */
    server: (): cephs.Ceph => ceph,
    bucket: (): ReturnType<typeof cephs.makeInspector> => bucket,
    /** The keys in the bucket. */
    keys: Effect.promise(() => bucket.keys()),
    /** The multipart uploads in the bucket that have not ended. */
    uploads: Effect.promise(() => bucket.uploads())
  }
}
