/** Both faces of the browser module as effects that fail with their errors, so that the same tests run on both. */
import * as Effect from "effect/Effect"
import * as effectFace from "../../../src/browser/index.js"
import * as promiseFace from "../../../src/browser/promise.js"

export interface Face {
  readonly title: string
  readonly fromBlob: <D extends effectFace.Dialect = "payload">(
    blob: Blob,
    options?: effectFace.FromBlobOptions<D>
  ) => Effect.Effect<effectFace.Encoded<D>, effectFace.BlobError | promiseFace.BlobError>
  /** An interruption aborts it. */
  readonly send: (
    socket: effectFace.WebSocketLike,
    blob: Blob,
    options: effectFace.SendOptions
  ) => Effect.Effect<effectFace.ImageDescription, effectFace.SendError | promiseFace.SendError>
}

export const faces: ReadonlyArray<Face> = [
  { title: "effects", ...effectFace },
  {
    title: "promises",
    fromBlob: (blob, options) =>
      Effect.tryPromise({
        try: (signal) => promiseFace.fromBlob(blob, { ...options, signal }),
        // The documented errors. The assertions fail on any other value.
        catch: (error) => error as promiseFace.BlobError
      }),
    send: (socket, blob, options) =>
      Effect.tryPromise({
        try: (signal) => promiseFace.send(socket, blob, { ...options, signal }),
        // The same.
        catch: (error) => error as promiseFace.SendError
      })
  }
]
