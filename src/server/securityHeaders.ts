/**
 * Headers that keep a browser from running a response as something else than it is.
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"

/** For responses that load nothing, such as JSON and images. */
const noContent = "default-src 'none'; frame-ancestors 'none'"

const inlineElements = /<(script|style)(?: [^>]*)?>([^]*?)<\/\1>/g

/** Allows the inline scripts and styles of a page by their hashes (CSP level 3, section 2.3.1), and no others. */
const inlineContent = (html: string): string => {
  const sources: Record<string, Array<string>> = { script: [], style: [] }
  for (const [, element = "", content = ""] of html.matchAll(inlineElements)) {
    sources[element]?.push(`'sha256-${createHash("sha256").update(content).digest("base64")}'`)
  }
  return [
    "default-src 'none'",
    ...Object.entries(sources).map(([element, hashes]) => [`${element}-src`, ...hashes].join(" ")),
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; ")
}

/** By body: the page at `/docs` has 2 MB and is always the same one. */
const policies = new WeakMap<object, string>()

const contentSecurityPolicy = ({ body }: HttpServerResponse.HttpServerResponse): string => {
  if (body._tag !== "Uint8Array" || !body.contentType.startsWith("text/html")) return noContent
  let policy = policies.get(body)
  if (policy === undefined) {
    policy = inlineContent(new TextDecoder().decode(body.body))
    policies.set(body, policy)
  }
  return policy
}

/** Adds `X-Content-Type-Options` and a `Content-Security-Policy` to responses without one. */
export const add = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
  Effect.map(app, (response) =>
    HttpServerResponse.setHeaders(response, {
      "x-content-type-options": "nosniff",
      "content-security-policy": response.headers["content-security-policy"] ?? contentSecurityPolicy(response)
    }))
