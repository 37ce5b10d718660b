/**
 * Types of what the tests use of packages that `npm run tools` installs, so that the sources compile without them. The
 * test of the frameworks compiles the examples with the packages' own types.
 */
declare module "hono" {
  export class Hono {
    post(path: string, handler: (context: { readonly req: { readonly raw: Request } }) => Promise<Response>): this
    fetch(request: Request): Response | Promise<Response>
  }
}

declare module "react" {
  interface Element {
    readonly type: unknown
  }
  export const StrictMode: unique symbol
  export const Fragment: unique symbol
  export const createElement: (type: symbol | (() => null), props: null, ...children: ReadonlyArray<Element>) => Element
  export const useState: <A>(initial: A) => [A, (next: A | ((previous: A) => A)) => void]
  export const useRef: <A>(initial: A) => { current: A }
  export const useEffect: (effect: () => () => void, dependencies: ReadonlyArray<unknown>) => void
}

declare module "react-reconciler" {
  import type { Element } from "react"

  interface Renderer {
    createContainer(container: object, ...settings: ReadonlyArray<unknown>): object
    updateContainerSync(element: Element | null, root: object, parent: null): void
    flushSyncWork(): void
  }
  const makeRenderer: (host: object) => Renderer
  export default makeRenderer
}

declare module "react-reconciler/constants.js" {
  export const ConcurrentRoot: number
  export const DiscreteEventPriority: number
  export const NoEventPriority: number
}

declare module "express" {
  import type { IncomingMessage, ServerResponse } from "node:http"

  interface Application {
    (request: IncomingMessage, response: ServerResponse): void
    use(handler: unknown): void
    get(path: string, handler: (request: Request, response: Response) => void): void
    post(path: string, handler: (request: Request, response: Response, next: (error: unknown) => void) => void): void
  }
  interface Request extends IncomingMessage {
    readonly body: unknown
  }
  interface Response extends ServerResponse {
    json(body: unknown): void
  }
  const express: { (): Application; json(options: { readonly limit: number }): unknown }
  export default express
}

declare module "fastify" {
  import type { IncomingMessage, Server, ServerResponse } from "node:http"

  interface Request {
    readonly raw: IncomingMessage
    readonly body: unknown
  }
  interface Reply {
    readonly raw: ServerResponse
    hijack(): void
  }
  type Handler = (request: Request, reply: Reply) => unknown
  type Done = (error: Error | null) => void
  interface Application {
    readonly server: Server
    ready(): Promise<void>
    listen(address: { readonly host: string; readonly port: number }): Promise<string>
    get(path: string, handler: Handler): void
    post(path: string, handler: Handler): void
    register(plugin: (application: Application) => Promise<void>): void
    removeAllContentTypeParsers(): void
    addContentTypeParser(type: string, parser: (request: Request, body: unknown, done: Done) => void): void
  }
  const fastify: (options?: { readonly bodyLimit?: number }) => Application
  export default fastify
}

declare module "@effect-aws/client-s3" {
  import type * as Context from "effect/Context"
  import type * as Effect from "effect/Effect"
  import type * as Layer from "effect/Layer"
  import type * as Stream from "effect/Stream"
  import type { Readable } from "node:stream"

  interface Failure {
    readonly _tag: string
    readonly $metadata?: { readonly httpStatusCode?: number }
  }
  interface Place {
    readonly Bucket: string
    readonly Key: string
  }
  interface Content extends Place {
    readonly Body: Uint8Array
    readonly ContentType: string
    readonly Metadata: Record<string, string>
  }
  interface Head {
    readonly LastModified?: Date
    readonly ContentLength?: number
    readonly Metadata?: Record<string, string>
  }
  interface Found extends Head {
    readonly Body?: Readable | Blob
  }
  interface Page {
    readonly Contents?: Array<{ readonly Key?: string; readonly LastModified?: Date }>
  }
  interface Service {
    putObject(content: Content): Effect.Effect<unknown, Failure>
    headObject(place: Place): Effect.Effect<Head, Failure>
    getObject(place: Place): Effect.Effect<Found, Failure>
    deleteObject(place: Place): Effect.Effect<unknown, Failure>
    listObjectsV2Stream(pages: { readonly Bucket: string; readonly Prefix: string }): Stream.Stream<Page, Failure>
  }
  interface Config {
    readonly endpoint: string
    readonly region: string
    readonly forcePathStyle: boolean
    readonly maxAttempts: number
    readonly requestHandler: { readonly socketTimeout: number }
    readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  }
  export interface S3Service {
    readonly S3Service: unique symbol
  }
  export const S3Service: Context.Tag<S3Service, Service> & {
    readonly layer: (config: Config) => Layer.Layer<S3Service>
  }
}
