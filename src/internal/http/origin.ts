/**
 * Which sites' pages may use the server: the check of a request's `Origin` and `Host` against cross-site requests and DNS
 * rebinding, and the answers of the CORS protocol (Fetch standard, section 3.2) to the pages that may.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as options from "../options.js"
import * as requestBody from "./requestBody.js"

interface Request {
  readonly method: string
  readonly headers: { readonly [name: string]: string | undefined }
}

/** The sites and host names; see `InitImageHttp.OriginOptions`. */
export interface Options {
  readonly origins?: ReadonlyArray<string> | undefined
  readonly hosts?: ReadonlyArray<string> | undefined
}

/** Safe methods (RFC 9110 section 9.2.1). */
const safeMethods = new Set(["GET", "HEAD", "OPTIONS"])

const parse = (url: string): URL | undefined => URL.canParse(url) ? new URL(url) : undefined

/** A scheme and an authority without a user. The URL parser takes much more, wildcards among them. */
const originPattern = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^\s/?#\\@*,%]+\/?$/

/**
 * Serializes an origin as a browser does (RFC 6454 section 6.2): without the trailing slash and the default port, in
 * lower case. An origin of another scheme than the web's, such as `chrome-extension://<id>`, loses its slash only.
 * Answers `undefined` for a text that is no origin.
 */
const serialize = (origin: string): string | undefined => {
  if (origin === "null") return origin
  if (!originPattern.test(origin)) return undefined
  const url = parse(origin)
  if (url === undefined || url.host === "") return undefined
  return url.origin === "null" ? origin.replace(/\/$/, "") : url.origin
}

/** Gives the host name of a `Host` header, as a browser writes it. Accepts an IPv6 address without brackets. */
const hostname = (host: string): string | undefined => (parse(`http://${host}`) ?? parse(`http://[${host}]`))?.hostname

const isHost = (host: string): boolean => /^[^\s/?#\\@*,%]+$/.test(host) && hostname(host) !== undefined

/** The problem of the first entry that can never match. */
export const originsProblem = (origins: ReadonlyArray<string> = []): string | undefined =>
  origins.every((origin) => serialize(origin) !== undefined)
    ? undefined
    : "origins must be origins such as https://app.example.com, without a path and without wildcards"

/** The problem of the first entry that can never match, or of a list that refuses every request. */
export const hostsProblem = (hosts: ReadonlyArray<string> | undefined): string | undefined =>
  hosts === undefined || (hosts.length > 0 && hosts.every(isHost))
    ? undefined
    : "hosts must be one or more host names such as app.example.com, without a scheme and without wildcards"

/**
 * An origin is the server's own if its host and port equal those of the request's `Host`. The scheme is not compared: a
 * server behind a proxy that terminates TLS does not know it.
 */
const isSameHost = (origin: string, host: string): boolean => {
  const url = parse(origin)
  if (url === undefined || !/^https?:$/.test(url.protocol)) return false
  // Parsed with the origin's scheme, so that either side may omit its default port.
  return url.host === parse(`${url.protocol}//${host}`)?.host
}

/** Why a request is refused: the option whose list lacks its `Origin` or `Host`. */
export type Refused = keyof Options

export interface Policy {
  /** Answers `undefined` for a request that is allowed. */
  readonly check: (request: Request) => Refused | undefined
  /** Whether an origin is in the list. */
  readonly isListed: (origin: string) => boolean
}

/** Whether a browser says that another origin's page sends the request, also where it sends no `Origin`. */
const isFromElsewhere = ({ headers }: Request): boolean => /^(?:cross|same)-site$/.test(headers["sec-fetch-site"] ?? "")

/**
 * Makes the policy. Safe methods pass, except for an upgrade, and so do the server's own origin, `origins`, and requests
 * without an `Origin`, unless `Sec-Fetch-Site` (Fetch Metadata, section 2.4) says that they come from elsewhere.
 *
 * With `hosts`, every request to another host name is refused. A page that points its own host name at the server (DNS
 * rebinding) has the server's own origin and sends no `Origin` with its reads; only the `Host` reveals it.
 *
 * Throws for a list with an entry that can never match.
 */
export const makePolicy = ({ hosts, origins = [] }: Options): Policy => {
  options.check("InitImageHttp.checkOrigin", originsProblem(origins), hostsProblem(hosts))
  const allowed = new Set(origins.map(serialize))
  const hostnames = hosts === undefined ? undefined : new Set(hosts.map(hostname))
  const isListed = (origin: string): boolean => allowed.has(origin)
  return {
    isListed,
    check: (request) => {
      const { headers, method } = request
      const { host, origin } = headers
      if (hostnames !== undefined && host !== undefined && !hostnames.has(hostname(host) ?? "")) return "hosts"
      const isUpgrade = headers["upgrade"] !== undefined
      if (safeMethods.has(method) && !isUpgrade) return undefined
      if (origin === undefined) return isFromElsewhere(request) ? "origins" : undefined
      return isListed(origin) || (host !== undefined && isSameHost(origin, host)) ? undefined : "origins"
    }
  }
}

const messages: Record<Refused, string> = {
  origins: "The server takes no requests from pages of this origin.",
  hosts: "The server does not answer to this host name."
}

/** A serialized origin (RFC 6454 section 6.2). A host name has at most 253 characters. */
const loggable = /^(?:null|[a-z][a-z0-9+.-]{0,30}:\/\/(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?)$/

/** The request's origin for the log, which gets no other text of a client. */
const loggedOrigin = (origin: string | undefined): string =>
  origin !== undefined && loggable.test(origin) ? ` ${origin}` : ""

const reasons: Record<Refused, (request: Request) => string> = {
  origins: ({ headers }) =>
    headers["origin"] === undefined
      ? "it has no origin, and its Sec-Fetch-Site names another site's page"
      : `its origin${loggedOrigin(headers["origin"])} is neither in the option origins nor that of its Host header`,
  hosts: () => "the name in its Host header is not in the option hosts"
}

const refuse = (request: HttpServerRequest.HttpServerRequest, refused: Refused) =>
  Effect.logDebug(`Refused a request with 403: ${reasons[refused](request)}`).pipe(
    // From here on a client can read the response, also one that is still sending its body.
    Effect.zipRight(requestBody.open(request)),
    Effect.as(HttpServerResponse.unsafeJson({ _tag: "Forbidden", message: messages[refused] }, { status: 403 }))
  )

const allowedMethods = ["GET", "HEAD", "PUT", "POST", "DELETE"]

/** The headers of responses that a page needs, beside those that it can always read. */
const exposedHeaders = ["Content-Disposition", "Retry-After"]

/** How long a browser may keep the answer to a preflight, in seconds. */
const maxAge = 600

/** Adds `Origin` to the response's `Vary` (RFC 9110 section 12.5.5). */
const varyByOrigin = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const vary = response.headers["vary"]
  return vary !== undefined && /(?:^|,)\s*(?:\*|origin)\s*(?:,|$)/i.test(vary)
    ? response
    : HttpServerResponse.setHeader(response, "vary", vary === undefined ? "Origin" : `${vary}, Origin`)
}

/**
 * The CORS headers of a response, also of one to a failure. Not by `HttpMiddleware.cors`, which replaces the response's
 * own `Vary` and sends none to an origin that is not allowed (@effect/platform 0.97): a shared cache would then keep that
 * response for all.
 */
const addHeaders = (isListed: (origin: string) => boolean) =>
  HttpApp.appendPreResponseHandler(({ headers: { origin } }, response) =>
    Effect.succeed(
      origin === undefined || !isListed(origin) ? varyByOrigin(response) : HttpServerResponse.setHeaders(
        varyByOrigin(response),
        { "access-control-allow-origin": origin, "access-control-expose-headers": exposedHeaders.join(", ") }
      )
    )
  )

/** Whether a browser asks for a page of a listed origin. */
const isPreflight = ({ headers, method }: Request, isListed: (origin: string) => boolean): boolean =>
  method === "OPTIONS" && headers["access-control-request-method"] !== undefined && isListed(headers["origin"] ?? "")

/** See `InitImageHttp.checkOrigin`. */
export const middleware = (
  settings: Options
): <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, R | HttpServerRequest.HttpServerRequest> => {
  const { check, isListed } = makePolicy(settings)
  const hasOrigins = settings.origins !== undefined && settings.origins.length > 0
  const answerPages = hasOrigins ? addHeaders(isListed) : Effect.void
  // Allows each header that the page asks for: clients add some of their own, such as `traceparent`.
  const preflight = HttpMiddleware.cors({ allowedOrigins: isListed, allowedMethods, maxAge })
  return (app) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const refused = check(request)
      if (refused !== undefined) return Effect.zipRight(answerPages, refuse(request, refused))
      return isPreflight(request, isListed) ? preflight(app) : Effect.zipRight(answerPages, app)
    })
}
