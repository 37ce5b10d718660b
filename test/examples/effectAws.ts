/**
 * A store in a bucket over `@effect-aws/client-s3`, for an application that has this client already.
 *
 * - An image is sent from memory, in one PUT. The AWS SDK signs the SHA-256 of bytes, but not of a stream. It sends a
 *   stream without a length, which Ceph answers with 411 unless `requestChecksumCalculation` is `WHEN_REQUIRED`.
 * - The client needs `requestHandler: { socketTimeout: 60_000 }`: by default it waits for an answer for ever.
 * - The client does not show the server's time: the clocks must agree to within a fraction of the `timeToLive`.
 */
import { S3Service } from "@effect-aws/client-s3"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Readable } from "node:stream"
import { layerObjects, type Objects, type Options, StoreError } from "session-init-image/InitImageStore"

/** The client's errors. One without a status tells that no answer came. */
type Failure = { readonly _tag: string; readonly $metadata?: { readonly httpStatusCode?: number | undefined } }

const toStoreError = (operation: StoreError["operation"]) => ({ $metadata, _tag }: Failure) => {
  const status = $metadata?.httpStatusCode
  if (status === undefined || status >= 500) return new StoreError({ operation, reason: "Unavailable" })
  const reason = _tag === "NoSuchBucket" ? "NoBucket" : status === 403 ? "Denied" : "Refused"
  return new StoreError({ operation, reason, status })
}

const orNone = <A, E extends Failure, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.asSome(effect).pipe(
    Effect.catchIf(({ _tag }) => _tag === "NotFound" || _tag === "NoSuchKey", () => Effect.succeedNone),
    Effect.mapError(toStoreError("get"))
  )

const prefix = "init-images/"

const makeObjects = (Bucket: string) =>
  Effect.zipWith(S3Service, Effect.clock, (s3, clock): Objects => {
    const at = (key: string) => ({ Bucket, Key: `${prefix}${key}` })
    const times = (date: Date | undefined, now = clock.unsafeCurrentTimeMillis()) => ({
      now,
      modifiedAt: Number(date ?? now)
    })
    const toHead = (found: Effect.Effect.Success<ReturnType<typeof s3.headObject>>) => ({
      ...times(found.LastModified),
      bytes: found.ContentLength ?? 0,
      description: found.Metadata?.["init-image"] ?? ""
    })
    return {
      put: (key, { mime: ContentType, stream }, description) =>
        Effect.flatMap(Stream.runCollect(stream), (chunks) => {
          const content = { Body: Buffer.concat([...chunks]), ContentType, Metadata: { "init-image": description } }
          return Effect.mapError(s3.putObject({ ...at(key), ...content }), toStoreError("put"))
        }).pipe(Effect.map(() => clock.unsafeCurrentTimeMillis())),
      head: (key) => orNone(Effect.map(s3.headObject(at(key)), toHead)),
      get: (key) =>
        orNone(Effect.gen(function*() {
          const found = yield* s3.getObject(at(key))
          const body = found.Body as Readable // On Node.
          yield* Effect.addFinalizer(() => Effect.sync(() => body.destroy()))
          const lost = () => toStoreError("get")({ _tag: "" })
          return { ...toHead(found), stream: NodeStream.fromReadable<StoreError, Uint8Array>(() => body, lost) }
        })),
      remove: (key) => Effect.mapError(s3.deleteObject(at(key)), toStoreError("remove")),
      // The client's stream runs once.
      list: Stream.suspend(() => s3.listObjectsV2Stream({ Bucket, Prefix: prefix })).pipe(
        Stream.mapError(toStoreError("list")),
        Stream.mapConcat(({ Contents = [] }) => Contents),
        Stream.map(({ Key = "", LastModified }) => ({ ...times(LastModified), key: Key.slice(prefix.length) }))
      )
    }
  })

/** Without `presign`, which is optional. */
export const layer = (bucket: string, options?: Options) => layerObjects(makeObjects(bucket), options)
