/**
 * The demo page at `/`: static files, and a script built on `session-init-image/browser/promise`.
 */
import type * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import * as InitImageLimits from "../InitImageLimits.js"

/** The page's files, which the build writes to `public`. */
const files = [
  { path: "/", file: "index.html", contentType: "text/html; charset=utf-8" },
  { path: "/page.js", file: "page.js", contentType: "text/javascript; charset=utf-8" },
  { path: "/style.css", file: "style.css", contentType: "text/css; charset=utf-8" },
  { path: "/icon.svg", file: "icon.svg", contentType: "image/svg+xml" }
] as const

const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
].join("; ")

const headers = {
  "cache-control": "no-cache",
  "content-security-policy": contentSecurityPolicy,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff"
}

/** The tests run the sources without a build, so the script is bundled on demand. */
const isSource = import.meta.url.endsWith(".ts")

const resolve = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

const bundle = async (): Promise<Uint8Array> => {
  const { build } = await import("esbuild")
  const { outputFiles: [bundled] } = await build({
    entryPoints: [resolve("./page/page.ts")],
    bundle: true,
    format: "esm",
    target: "es2022",
    write: false,
    logLevel: "silent"
  })
  if (bundled === undefined) throw new Error("esbuild has written no output")
  return bundled.contents
}

const load = (file: string): Promise<Uint8Array> =>
  !isSource
    ? readFile(resolve(`./public/${file}`))
    : file === "page.js"
    ? bundle()
    : readFile(resolve(`./page/${file}`))

/** Writes the server's limit into the page. */
const withLimit = (html: Uint8Array, maxBytes: number): Uint8Array =>
  new TextEncoder().encode(
    new TextDecoder().decode(html).replace(/data-max-bytes="\d+"/, `data-max-bytes="${maxBytes}"`)
  )

/** Adds the page to the router. Each file is read at its first request. */
export const addTo = Effect.fnUntraced(function*(
  router: Context.Tag.Service<typeof HttpApiBuilder.Router>
) {
  const maxBytes = yield* InitImageLimits.MaxBytes
  for (const { contentType, file, path } of files) {
    const body = yield* Effect.cached(
      Effect.tryPromise(() => load(file)).pipe(
        Effect.map((bytes) => file === "index.html" ? withLimit(bytes, maxBytes) : bytes),
        Effect.tapError((error) => Effect.logError("A file of the page could not be read", error))
      )
    )
    yield* router.get(
      path,
      Effect.match(body, {
        onFailure: () => HttpServerResponse.empty({ status: 404 }),
        onSuccess: (bytes) => HttpServerResponse.uint8Array(bytes, { contentType, headers })
      })
    )
  }
})
