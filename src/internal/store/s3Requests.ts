/** Signed requests to an S3-compatible server (AWS Signature Version 4), each one attempt. */
import * as Headers from "@effect/platform/Headers"
import type * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type * as HttpMethod from "@effect/platform/HttpMethod"
import type { AwsV4Signer } from "aws4fetch"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as digests from "./digest.js"
import { StoreError } from "./models.js"

export interface Credentials {
  readonly accessKeyId: Redacted.Redacted
  readonly secretAccessKey: Redacted.Redacted
  readonly sessionToken?: Redacted.Redacted | undefined
}

export interface Settings {
  /** That of the bucket, with a slash at its end. */
  readonly url: string
  readonly region: string
  readonly credentials: Effect.Effect<Credentials, unknown>
  /** The longest wait for a response and between two chunks of one. */
  readonly timeout: Duration.DurationInput
}

export interface Request {
  readonly operation: StoreError["operation"]
  readonly method: HttpMethod.HttpMethod
  /** Behind the bucket's URL. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Its SHA-256 in hex, where there is a body. */
  readonly sha256?: string
  readonly body?: HttpBody.HttpBody
}

/** The longest body of an error or a listing that is read, in bytes. */
const maxTextBytes = 4 * 1024 * 1024

const maxErrorBytes = 64 * 1024

/** Reasons by the error codes of S3. */
const reasons: Readonly<Record<string, StoreError["reason"]>> = {
  AccessDenied: "Denied",
  ExpiredToken: "Denied",
  InvalidAccessKeyId: "Denied",
  InvalidToken: "Denied",
  SignatureDoesNotMatch: "Denied",
  TokenRefreshRequired: "Denied",
  NoSuchBucket: "NoBucket",
  RequestTimeTooSkewed: "ClockSkew",
  BadDigest: "FileUnreadable",
  XAmzContentSHA256Mismatch: "FileUnreadable",
  OperationAborted: "Unavailable",
  RequestTimeout: "Unavailable",
  SlowDown: "Unavailable"
}

const reasonOf = (status: number, code: string): StoreError["reason"] => {
  const reason = reasons[code]
  if (reason !== undefined) return reason
  if (status >= 500 || status === 429 || status === 408) return "Unavailable"
  return status === 401 || status === 403 ? "Denied" : "Refused"
}

/** The time of a response by the server's clock, in milliseconds since 1970. */
export const serverTime = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<number> => {
  const time = Date.parse(response.headers["date"] ?? "")
  return Number.isNaN(time) ? Clock.currentTimeMillis : Effect.succeed(time)
}

export const make = (
  httpClient: HttpClient.HttpClient,
  Signer: typeof AwsV4Signer,
  { credentials, region, timeout, url }: Settings
) => {
  // The platform's spans carry URL and headers, and with them keys and signatures.
  const client = httpClient.pipe(
    HttpClient.withTracerDisabledWhen(() => true),
    HttpClient.withTracerPropagation(false),
    HttpClient.withScope
  )

  const sign = (
    { headers, method, operation, path, sha256 = digests.ofNothing }: Request,
    inQuery: boolean
  ): Effect.Effect<{ readonly url: string; readonly headers: Headers.Headers }, StoreError> =>
    Effect.gen(function*() {
      const { accessKeyId, secretAccessKey, sessionToken } = yield* Effect.mapError(
        credentials,
        () => new StoreError({ operation, reason: "Credentials" })
      )
      return yield* Effect.tryPromise({
        try: async () => {
          const signed = await new Signer({
            method,
            url: `${url}${path}`,
            ...inQuery ? {} : { headers: { ...headers, "x-amz-content-sha256": sha256 } },
            accessKeyId: Redacted.value(accessKeyId),
            secretAccessKey: Redacted.value(secretAccessKey),
            ...sessionToken === undefined ? {} : { sessionToken: Redacted.value(sessionToken) },
            service: "s3",
            region,
            signQuery: inQuery
          }).sign()
          return { url: signed.url.toString(), headers: Headers.fromInput(signed.headers) }
        },
        catch: () => new StoreError({ operation, reason: "Credentials" })
      })
    })

  const unavailable = (operation: StoreError["operation"]) => new StoreError({ operation, reason: "Unavailable" })

  /** Reads a response's body, or as much of it as is allowed. */
  const read = (
    response: HttpClientResponse.HttpClientResponse,
    operation: StoreError["operation"],
    maxBytes: number
  ): Effect.Effect<string, StoreError> => {
    const decoder = new TextDecoder()
    let bytes = 0
    return response.stream.pipe(
      // The client over `fetch` fails for a response without a body.
      Stream.catchAll((error) => error.reason === "EmptyBody" ? Stream.empty : Stream.fail(unavailable(operation))),
      Stream.takeWhile((chunk) => (bytes += chunk.length) <= maxBytes),
      Stream.runFold("", (text, chunk) => text + decoder.decode(chunk, { stream: true }))
    )
  }

  /** Fails with what the response tells of the request. */
  const fail = (response: HttpClientResponse.HttpClientResponse, { operation }: Request) =>
    Effect.flatMap(Effect.orElseSucceed(read(response, operation, maxErrorBytes), () => ""), (text) => {
      const code = /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(text)?.[1] ?? ""
      const reason = reasonOf(response.status, code)
      return Effect.fail(new StoreError({ operation, reason, status: response.status }))
    })

  /** A response of the statuses; it is aborted where it has not been read by the end of the scope. */
  const send = (
    request: Request,
    statuses: ReadonlyArray<number>
  ): Effect.Effect<HttpClientResponse.HttpClientResponse, StoreError, Scope.Scope> =>
    Effect.gen(function*() {
      const signed = yield* sign(request, false)
      const unsent = HttpClientRequest.make(request.method)(signed.url)
      const response = yield* client.execute(
        HttpClientRequest.setHeaders(
          request.body === undefined ? unsent : HttpClientRequest.setBody(unsent, request.body),
          signed.headers
        )
      ).pipe(Effect.mapError(() => unavailable(request.operation)))
      return statuses.includes(response.status) ? response : yield* fail(response, request)
    })

  /**
   * Fails after the timeout. Runs in another fiber: a timeout interrupts, and nothing can be interrupted in the finalizer
   * of a scope, which removes an image.
   */
  const inTime = <A, R>({ operation }: Request, effect: Effect.Effect<A, StoreError, R>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.timeoutFail(effect, { duration: timeout, onTimeout: () => unavailable(operation) }).pipe(
        Effect.interruptible,
        Effect.forkDaemon,
        Effect.flatMap((fiber) => Effect.onInterrupt(restore(Fiber.join(fiber)), () => Fiber.interrupt(fiber)))
      )
    )

  return {
    /** A response whose body is still to be read. */
    open: (request: Request, statuses: ReadonlyArray<number>) => inTime(request, send(request, statuses)),
    /** A response without a body of interest. */
    run: (request: Request, statuses: ReadonlyArray<number>) =>
      inTime(
        request,
        Effect.scoped(
          Effect.tap(send(request, statuses), (response) => read(response, request.operation, maxErrorBytes))
        )
      ),
    /** The text of a response, and the server's time. */
    text: (request: Request) =>
      inTime(
        request,
        Effect.scoped(Effect.gen(function*() {
          const response = yield* send(request, [200])
          return [yield* read(response, request.operation, maxTextBytes), yield* serverTime(response)] as const
        }))
      ),
    /** The chunks of a response, none of them later than the timeout. */
    bytes: (response: HttpClientResponse.HttpClientResponse, operation: StoreError["operation"]) =>
      response.stream.pipe(
        Stream.mapError(() => unavailable(operation)),
        Stream.timeoutFail(() => unavailable(operation), timeout)
      ),
    presign: (path: string, seconds: number) =>
      Effect.map(
        sign({ operation: "presign", method: "GET", path: `${path}?X-Amz-Expires=${seconds}` }, true),
        (signed) => Redacted.make(signed.url)
      )
  }
}
