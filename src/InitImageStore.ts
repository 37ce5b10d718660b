/**
 * Stores init images where other machines reach them: in an S3-compatible object store, or in a directory of a shared
 * volume. A small {@link ImageReference} goes through queues and databases in place of the bytes.
 *
 * A gateway puts the image of a session, and a worker on another host fetches it into a file of its own:
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { SessionInitImage } from "session-init-image"
 * import { type ImageReference, InitImageStore } from "session-init-image/InitImageStore"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * export const hand = (image: SessionInitImage.SessionInitImage) =>
 *   Effect.flatMap(InitImageStore, (store) => store.put(image))
 *
 * export const work = (reference: ImageReference) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const store = yield* InitImageStore
 *     const image = yield* store.fetchScoped(reference)
 *     yield* generate(image.path)
 *   }))
 * ```
 *
 * An entry point of its own, `session-init-image/InitImageStore`.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Path from "@effect/platform/Path"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { InitImageError } from "./InitImageError.js"
import { check, textProblem, timeoutProblem } from "./internal/options.js"
import * as files from "./internal/store/files.js"
import type { ImageChanged, ImageGone, ImageReference, StoreError } from "./internal/store/models.js"
import type { Objects } from "./internal/store/objects.js"
import * as s3 from "./internal/store/s3.js"
import * as store from "./internal/store/store.js"
import * as SessionInitImage from "./SessionInitImage.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  ImageChanged,
  /**
   * @since 0.1.0
   * @category errors
   */
  ImageGone,
  /**
   * @since 0.1.0
   * @category models
   */
  ImageReference,
  /**
   * @since 0.1.0
   * @category errors
   */
  StoreError
} from "./internal/store/models.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Body,
  /**
   * @since 0.1.0
   * @category models
   */
  Found,
  /**
   * @since 0.1.0
   * @category models
   */
  Head,
  /**
   * @since 0.1.0
   * @category models
   */
  Listed,
  /**
   * @since 0.1.0
   * @category models
   */
  Objects
} from "./internal/store/objects.js"

/**
 * Images under names of the caller's, such as session ids: at most one of a name. A name is hashed (SHA-256) into the
 * object's key and is not stored. An image and its description are one object, replaced in one request, so that a reader
 * on another host never has the one without the other.
 *
 * An image that is not used for the layer's `timeToLive` expires. {@link put} and {@link get} are uses; `get` writes a
 * small object beside it, at most once in a quarter of the `timeToLive`.
 *
 * @since 0.1.0
 * @category models
 */
export interface NamedImages {
  /**
   * Stores the image under the name; the last write wins. A failed `put` keeps the old image, or has stored the new one
   * where the answer was lost. An interrupted one is aborted while bytes are missing, and takes effect after that.
   */
  readonly put: (name: string, image: SessionInitImage.SessionInitImage) => Effect.Effect<ImageReference, StoreError>
  /** The current image of the name. Replaced later, it is `ImageChanged` or `ImageGone` for this reference. */
  readonly get: (name: string) => Effect.Effect<Option.Option<ImageReference>, StoreError>
  /** Removes the image of the name, if there is one. */
  readonly remove: (name: string) => Effect.Effect<void, StoreError>
}

/**
 * A store of images.
 *
 * @since 0.1.0
 * @category models
 */
export interface Store {
  /**
   * Stores a copy of the image's file under an unguessable key. It is there until it is removed or expires. The file is
   * read once for its SHA-256 and once to be sent; `InitImageSpool.withSha256` saves the first.
   *
   * An interruption returns at once; the layer aborts the upload, or awaits and removes what was stored. Closing the
   * layer waits for that.
   */
  readonly put: (image: SessionInitImage.SessionInitImage) => Effect.Effect<ImageReference, StoreError>
  /** {@link put}, with an object that lives as long as the scope. */
  readonly putScoped: (
    image: SessionInitImage.SessionInitImage
  ) => Effect.Effect<ImageReference, StoreError, Scope.Scope>
  /**
   * Writes a stored image to a new file, which lives as long as the scope. It is verified as any other image is, in the
   * spool and the limits of the effect's context, and nothing is published unless length and SHA-256 are those of the
   * reference.
   */
  readonly fetchScoped: (
    reference: ImageReference,
    options?: SessionInitImage.PersistOptions
  ) => Effect.Effect<
    SessionInitImage.SessionInitImage,
    ImageGone | ImageChanged | StoreError | InitImageError | PlatformError,
    FileSystem.FileSystem | Path.Path | Scope.Scope
  >
  /** Removes a stored image; succeeds if it is gone already. */
  readonly remove: (reference: ImageReference) => Effect.Effect<void, StoreError>
  /**
   * Removes the expired images of all hosts, by the store's clock, and answers their number. May run on several hosts at
   * a time, which must have the same `timeToLive`.
   */
  readonly sweep: Effect.Effect<number, StoreError>
  /**
   * A URL that gives the image to everyone who has it: a credential. Fails with `Unsupported` in a store of files, and of
   * objects without `presign`. Dies for a duration below 1 second, or above the 7 days that a signature may last (AWS
   * Signature Version 4).
   */
  readonly presign: (
    reference: ImageReference,
    duration: Duration.DurationInput
  ) => Effect.Effect<Redacted.Redacted, StoreError>
  readonly named: NamedImages
}

/**
 * The store of an effect's images; see {@link layerFileSystem} and {@link layerS3}, and {@link layerObjects} for a store
 * of another kind.
 *
 * @since 0.1.0
 * @category tags
 */
export class InitImageStore extends Context.Tag("session-init-image/InitImageStore")<InitImageStore, Store>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long an image is kept, or is kept unused under a name; 1 hour by default. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /** Sweeps this often while the layer is there; never by default. Every host may do so. */
  readonly sweepEvery?: Duration.DurationInput | undefined
}

const problemOf = ({ sweepEvery, timeToLive }: Options): string | undefined =>
  timeoutProblem("timeToLive", timeToLive) ?? timeoutProblem("sweepEvery", sweepEvery)

const persist: store.Persist = (meta, source, bytes, options) =>
  SessionInitImage.persistSourceScoped(meta, source, bytes, options)

const make = Effect.fnUntraced(function*<E, R>(
  makeObjects: Effect.Effect<Objects, E, R>,
  { sweepEvery, timeToLive = "1 hour" }: Options,
  isDigestChecked: boolean
) {
  const fs = yield* FileSystem.FileSystem
  const objects = yield* makeObjects
  return yield* store.make(fs, objects, persist, {
    timeToLive: Duration.toMillis(timeToLive),
    sweepEvery,
    isDigestChecked
  })
})

/**
 * A store over {@link Objects} of the caller's, such as those of a bucket that the application has a client for. The
 * effect runs once, in the layer's scope; what it acquires there is released after the last upload has ended.
 *
 * Fails as the effect does. Dies for options that make no sense.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as InitImageStore from "session-init-image/InitImageStore"
 *
 * declare const bucket: Effect.Effect<InitImageStore.Objects>
 *
 * const Store = InitImageStore.layerObjects(bucket, { timeToLive: "1 hour", sweepEvery: "10 minutes" })
 * ```
 */
export const layerObjects = <E, R>(
  objects: Effect.Effect<Objects, E, R>,
  options: Options = {}
): Layer.Layer<InitImageStore, E, FileSystem.FileSystem | Exclude<R, Scope.Scope>> => {
  check("InitImageStore.layerObjects", problemOf(options))
  return Layer.scoped(InitImageStore, make(objects, options, false))
}

const makeFileObjects = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* fs.makeDirectory(directory, { recursive: true, mode: 0o700 })
  return files.make(fs, path, directory)
})

/**
 * A store in a directory, for one machine or a volume that hosts share. Creates the directory with mode 0700 if there is
 * none. The hosts' clocks must agree to within a fraction of the `timeToLive`.
 *
 * Fails with `PlatformError` if the directory cannot be made.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFileSystem = (
  options: Options & { readonly directory: string }
): Layer.Layer<InitImageStore, PlatformError, FileSystem.FileSystem | Path.Path> => {
  check("InitImageStore.layerFileSystem", problemOf(options), textProblem("directory", options.directory))
  return layerObjects(makeFileObjects(options.directory), options)
}

/**
 * The keys of an account of an S3-compatible server. `sessionToken` comes with temporary ones.
 *
 * @since 0.1.0
 * @category models
 */
export interface AwsCredentials {
  readonly accessKeyId: Redacted.Redacted
  readonly secretAccessKey: Redacted.Redacted
  readonly sessionToken?: Redacted.Redacted | undefined
}

/**
 * Where an S3-compatible server keeps the images.
 *
 * @since 0.1.0
 * @category models
 */
export interface S3Location extends Options {
  /** The server's URL, such as `https://s3.eu-central-1.amazonaws.com`. The bucket is put into the path. */
  readonly endpoint: string
  readonly bucket: string
  /** `us-east-1` by default, which servers other than AWS's accept. */
  readonly region?: string | undefined
  /**
   * The start of all keys, `init-images/` by default: `A-Z a-z 0-9 . _ - /`. A lifecycle rule of the bucket that expires
   * this prefix after one day, its smallest unit, removes what no sweep does.
   */
  readonly prefix?: string | undefined
  /**
   * The longest time of one request, and of a pause in a response; 1 minute by default. A request that fails is tried
   * again four times within some seconds.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * {@link S3Location}, and the credentials: an effect that runs for each request, so that it may refresh them;
 * `Effect.cachedWithTTL` keeps them for a while. They are sent nowhere.
 *
 * @since 0.1.0
 * @category models
 */
export interface S3Options<E = never> extends S3Location {
  readonly credentials: Effect.Effect<AwsCredentials, E>
}

/**
 * Reports that aws4fetch, which signs requests, cannot be loaded: it is an optional peer dependency, and has to be
 * installed by the application.
 *
 * @since 0.1.0
 * @category errors
 */
export class SignerNotAvailable
  extends Schema.TaggedError<SignerNotAvailable>("session-init-image/InitImageStore/SignerNotAvailable")(
    "SignerNotAvailable",
    {}
  )
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The package aws4fetch cannot be loaded. InitImageStore.layerS3 needs it: npm install aws4fetch"
  }
}

const isHttpUrl = (text: string): boolean => {
  const { protocol, search } = URL.canParse(text) ? new URL(text) : { protocol: "", search: "" }
  return (protocol === "http:" || protocol === "https:") && search === ""
}

const s3ProblemOf = (location: S3Location): string | undefined => {
  if (!isHttpUrl(location.endpoint)) return "endpoint must be an http: or https: URL"
  if (!/^[A-Za-z0-9._-]+$/.test(location.bucket)) return "bucket must be the name of a bucket"
  if (!/^[A-Za-z0-9._/-]*$/.test(location.prefix ?? "")) {
    return "prefix may hold only A-Z, a-z, 0-9, '.', '_', '-' and '/'"
  }
  return problemOf(location) ?? textProblem("region", location.region) ?? timeoutProblem("timeout", location.timeout)
}

const makeS3Objects = Effect.fnUntraced(function*<E>(options: S3Options<E>) {
  const { bucket, credentials, endpoint, prefix = "init-images/", region = "us-east-1", timeout = "1 minute" } = options
  const client = yield* HttpClient.HttpClient
  const { AwsV4Signer } = yield* Effect.tryPromise({
    try: () => import("aws4fetch"),
    catch: () => new SignerNotAvailable()
  })
  return s3.make(client, AwsV4Signer, prefix, {
    url: `${endpoint.replace(/\/+$/, "")}/${bucket}/`,
    region,
    credentials,
    timeout
  })
})

/** The server refuses a body that has another SHA-256 than the signature. */
const makeS3 = <E>(options: S3Options<E>) => make(makeS3Objects(options), options, true)

/**
 * A store in a bucket of an S3-compatible server: AWS, Ceph, MinIO, R2 and others. Needs `aws4fetch`, an optional peer
 * dependency, and any `HttpClient` of the platform. The one over `fetch` cannot send a file of known length, which servers
 * ask for: with it an image is read into memory to be sent. On Bun `NodeHttpClient.layer` sends from the disk;
 * `NodeHttpClient.layerUndici` does not work there.
 *
 * A file is sent in one PUT, from the disk, and signed with its SHA-256. Spans and logs have no URL, key or header.
 *
 * Fails with {@link SignerNotAvailable}. Dies for options that make no sense.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerS3 = <E = never>(
  options: S3Options<E>
): Layer.Layer<InitImageStore, SignerNotAvailable, HttpClient.HttpClient | FileSystem.FileSystem> =>
  Layer.scoped(
    InitImageStore,
    Effect.suspend(() => {
      check("InitImageStore.layerS3", s3ProblemOf(options))
      return makeS3(options)
    })
  )

/**
 * The credentials of the variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if there is one,
 * `AWS_SESSION_TOKEN`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const credentialsConfig: Config.Config<AwsCredentials> = Config.all([
  Config.redacted("AWS_ACCESS_KEY_ID"),
  Config.redacted("AWS_SECRET_ACCESS_KEY"),
  Config.option(Config.redacted("AWS_SESSION_TOKEN"))
]).pipe(
  Config.map(([accessKeyId, secretAccessKey, sessionToken]) => ({
    accessKeyId,
    secretAccessKey,
    sessionToken: Option.getOrUndefined(sessionToken)
  }))
)

/**
 * {@link layerS3} from `Config`. Fails with a `ConfigError` too if an option makes no sense.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Config } from "effect"
 * import * as InitImageStore from "session-init-image/InitImageStore"
 *
 * const Store = InitImageStore.layerS3Config({
 *   endpoint: Config.string("AWS_ENDPOINT_URL_S3"),
 *   bucket: Config.string("INIT_IMAGE_BUCKET"),
 *   region: Config.string("AWS_REGION"),
 *   credentials: InitImageStore.credentialsConfig
 * })
 * ```
 */
export const layerS3Config = (
  options: Config.Config.Wrap<S3Location & { readonly credentials: AwsCredentials }>
): Layer.Layer<
  InitImageStore,
  SignerNotAvailable | ConfigError.ConfigError,
  HttpClient.HttpClient | FileSystem.FileSystem
> =>
  Config.unwrap(options).pipe(
    Config.mapOrFail((options) => {
      const problem = s3ProblemOf(options)
      return problem === undefined ? Either.right(options) : Either.left(ConfigError.InvalidData([], problem))
    }),
    Effect.map(({ credentials, ...location }) => makeS3({ ...location, credentials: Effect.succeed(credentials) })),
    Effect.flatten,
    Layer.scoped(InitImageStore)
  )
