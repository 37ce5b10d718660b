/**
 * Objects in an S3-compatible server. Builds on no checksum header and no precondition, which servers leave out or treat
 * differently: the SHA-256 of a body is in the signature.
 */
import * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type { AwsV4Signer } from "aws4fetch"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import type { StoreError } from "./models.js"
import type { Body, Head, Listed, Objects } from "./objects.js"
import { retries } from "./retries.js"
import * as requests from "./s3Requests.js"

/** The header that carries an object's description. */
const descriptionHeader = "x-amz-meta-init-image"

/** The objects of one listing. */
const objectsPerPage = 1000

const contentsPattern = /<Contents>(.*?)<\/Contents>/gs

/** The text of an element without children; keys are URL-encoded, so that nothing is escaped. */
const textOf = (element: string, name: string): string =>
  new RegExp(`<${name}>([^<]*)</${name}>`).exec(element)?.[1] ?? ""

const decodeKey = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const headOf = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<Head> =>
  Effect.map(requests.serverTime(response), (now) => {
    const modifiedAt = Date.parse(response.headers["last-modified"] ?? "")
    return {
      now,
      modifiedAt: Number.isNaN(modifiedAt) ? now : modifiedAt,
      bytes: Number(response.headers["content-length"]),
      description: response.headers[descriptionHeader] ?? ""
    }
  })

export const make = (
  client: HttpClient.HttpClient,
  Signer: typeof AwsV4Signer,
  prefix: string,
  settings: requests.Settings
): Objects => {
  const s3 = requests.make(client, Signer, settings)
  const pathOf = (key: string) => `${prefix}${key}`

  /** Whether the client cannot send a stream of known length: the platform's client over `fetch` drops the length. */
  let isLengthDropped = false

  const bodyOf = (body: Body): Effect.Effect<HttpBody.HttpBody, StoreError> =>
    isLengthDropped || body.bytes === 0
      ? Effect.map(
        Stream.runCollect(body.stream),
        (chunks) => HttpBody.uint8Array(Buffer.concat([...chunks]), body.mime)
      )
      : Effect.succeed(HttpBody.stream(body.stream, body.mime, body.bytes))

  const putOnce = (key: string, body: Body, description: string): Effect.Effect<number, StoreError> =>
    Effect.suspend(() => {
      /** A client reports a broken body as a broken connection. */
      let unreadable: StoreError | undefined
      const stream = Stream.tapError(body.stream, (error) =>
        Effect.sync(() => {
          unreadable = error
        }))
      return Effect.flatMap(bodyOf({ ...body, stream }), (httpBody) =>
        s3.run({
          operation: "put",
          method: "PUT",
          path: pathOf(key),
          headers: description === "" ? {} : { [descriptionHeader]: description },
          sha256: body.sha256,
          body: httpBody
        }, [200])).pipe(
          Effect.flatMap(requests.serverTime),
          Effect.mapError((error) => unreadable ?? error)
        )
    })

  const put = (key: string, body: Body, description: string): Effect.Effect<number, StoreError> =>
    Effect.catchIf(
      putOnce(key, body, description),
      ({ status }) => !isLengthDropped && (status === 411 || status === 501),
      () => {
        isLengthDropped = true
        return putOnce(key, body, description)
      }
    )

  const head = (key: string): Effect.Effect<Option.Option<Head>, StoreError> =>
    Effect.flatMap(
      s3.run({ operation: "get", method: "HEAD", path: pathOf(key) }, [200, 404]),
      (response) => response.status === 404 ? Effect.succeedNone : Effect.asSome(headOf(response))
    )

  /** A page of a listing behind the key `after`, and the last key of it, if there are more. */
  const page = (after: string) =>
    Effect.map(
      s3.text({
        operation: "list",
        method: "GET",
        path: `?list-type=2&encoding-type=url&max-keys=${objectsPerPage}&prefix=${encodeURIComponent(prefix)}` +
          (after === "" ? "" : `&start-after=${encodeURIComponent(after)}`)
      }),
      ([text, now]): readonly [ReadonlyArray<Listed>, Option.Option<string>] => {
        const listed = Array.from(text.matchAll(contentsPattern), ([, contents = ""]) => ({
          key: decodeKey(textOf(contents, "Key")),
          modifiedAt: Date.parse(textOf(contents, "LastModified")),
          now
        }))
        const last = listed.at(-1)?.key ?? after
        const hasMore = textOf(text, "IsTruncated") === "true" && last > after
        return [
          listed.map((entry) => ({ ...entry, key: entry.key.slice(prefix.length) })),
          hasMore ? Option.some(last) : Option.none()
        ]
      }
    )

  return {
    put,
    head,
    get: (key) =>
      Effect.gen(function*() {
        const response = yield* s3.open({ operation: "get", method: "GET", path: pathOf(key) }, [200])
        return Option.some({ ...yield* headOf(response), stream: s3.bytes(response, "get") })
      }).pipe(
        Effect.catchIf(
          ({ reason, status }) => status === 404 && reason !== "NoBucket",
          () => Effect.succeedNone
        )
      ),
    remove: (key) =>
      s3.run({ operation: "remove", method: "DELETE", path: pathOf(key) }, [200, 204]).pipe(
        Effect.catchIf(({ reason, status }) => status === 404 && reason !== "NoBucket", () => Effect.void),
        Effect.asVoid
      ),
    list: Stream.flattenIterables(
      Stream.paginateEffect("", (after) => Effect.retry(page(after), retries))
    ),
    presign: (key, seconds) => s3.presign(pathOf(key), seconds)
  }
}
