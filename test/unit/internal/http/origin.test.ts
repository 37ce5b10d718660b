import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { makePolicy, middleware, type Options } from "../../../../src/internal/http/origin.js"

interface Case {
  readonly title: string
  readonly method?: string
  readonly headers: Record<string, string>
  readonly origins?: ReadonlyArray<string>
  readonly hosts?: ReadonlyArray<string>
}

const host = "app.example.com:8787"

const crossSite = { "sec-fetch-site": "cross-site" }

const allowed: ReadonlyArray<Case> = [
  ...["same-origin", "none", "unknown"].map((site) => ({
    title: `no origin and Sec-Fetch-Site: ${site}`,
    headers: { host, "sec-fetch-site": site }
  })),
  { title: "a GET without an origin from another site", method: "GET", headers: { host, ...crossSite } },
  { title: "no origin", headers: { host } },
  { title: "no origin and no host, as in HTTP/1.0", headers: {}, hosts: ["app.example.com"] },
  { title: "the server's own origin", headers: { host, origin: "http://app.example.com:8787" } },
  {
    title: "the server's own origin behind a TLS proxy",
    headers: { host: "app.example.com", origin: "https://app.example.com" }
  },
  {
    title: "the server's own origin with an explicit default port",
    headers: { host: "a.example:443", origin: "https://a.example" }
  },
  {
    title: "the server's own origin in another letter case",
    headers: { host: "App.Example.com", origin: "http://app.example.com" }
  },
  {
    title: "the server's own IPv6 origin",
    headers: { host: "[::1]:8787", origin: "http://[::1]:8787" },
    hosts: ["::1"]
  },
  {
    title: "an allowed origin",
    headers: { host, origin: "https://b.example" },
    origins: ["https://B.example:443/"]
  },
  {
    title: "an allowed origin on a port",
    headers: { host, origin: "http://localhost:5173" },
    origins: ["http://LOCALHOST:5173/"]
  },
  { title: "an allowed IPv6 origin", headers: { host, origin: "http://[::1]:5173" }, origins: ["http://[::1]:5173"] },
  {
    title: "an allowed internationalized origin",
    headers: { host, origin: "https://xn--bcher-kva.example" },
    origins: ["https://bücher.example"]
  },
  { title: "an allowed extension with a slash", headers: { host, origin: "ext://abc" }, origins: ["ext://abc/"] },
  { title: "an allowed browser extension", headers: { host, origin: "ext://abc" }, origins: ["ext://abc"] },
  { title: "an allowed opaque origin", headers: { host, origin: "null" }, origins: ["null"] },
  { title: "an allowed host", headers: { host, origin: `http://${host}` }, hosts: ["APP.example.com"] },
  { title: "an allowed host with a port", headers: { host }, hosts: [host] },
  {
    title: "an allowed internationalized host",
    headers: { host: "xn--bcher-kva.example" },
    hosts: ["bücher.example"]
  },
  { title: "a GET from another site", method: "GET", headers: { host, origin: "https://evil.example" } },
  { title: "a HEAD from another site", method: "HEAD", headers: { host, origin: "https://evil.example" } },
  { title: "a preflight from another site", method: "OPTIONS", headers: { host, origin: "https://evil.example" } }
]

const upgrade = { host, upgrade: "websocket" }

const refused: ReadonlyArray<Case> = [
  { title: "another site", headers: { host, origin: "https://evil.example" } },
  { title: "another port of the same host", headers: { host, origin: "http://app.example.com:3000" } },
  { title: "another host with the same suffix", headers: { host, origin: "http://evilapp.example.com:8787" } },
  { title: "an opaque origin", headers: { host, origin: "null" } },
  { title: "no origin and a page of another site", headers: { host, ...crossSite } },
  { title: "no origin and a page of another subdomain", headers: { host, "sec-fetch-site": "same-site" } },
  { title: "an upgrade without an origin from another site", method: "GET", headers: { ...upgrade, ...crossSite } },
  { title: "an empty origin", headers: { host, origin: "" } },
  { title: "an opaque origin when an extension is allowed", headers: { host, origin: "null" }, origins: ["ext://abc"] },
  { title: "an extension with the server's host as its id", headers: { host, origin: `ext://${host}` } },
  { title: "a scheme that ends in http", headers: { host, origin: `xhttp://${host}` } },
  { title: "the origin http://undefined and no host", headers: { origin: "http://undefined" } },
  { title: "an origin and no host", headers: { origin: "http://app.example.com" } },
  { title: "an origin and an invalid host", headers: { host: ":::", origin: "http://app.example.com" } },
  {
    title: "an origin that is not in the list",
    headers: { host, origin: "https://c.example" },
    origins: ["https://b.example"]
  },
  { title: "an upgrade from another site", method: "GET", headers: { ...upgrade, origin: "https://evil.example" } },
  {
    title: "the host of another site",
    headers: { host: "evil.example", origin: "http://evil.example" },
    hosts: ["localhost"]
  },
  {
    title: "a GET to the host of another site",
    method: "GET",
    headers: { host: "evil.example" },
    hosts: ["localhost"]
  },
  {
    title: "an upgrade to the host of another site",
    method: "GET",
    headers: { ...upgrade, host: "evil.example" },
    hosts: ["localhost"]
  },
  {
    title: "an allowed origin at the host of another site",
    headers: { host: "evil.example", origin: "https://b.example" },
    origins: ["https://b.example"],
    hosts: ["localhost"]
  },
  { title: "an invalid host", method: "GET", headers: { host: ":::" }, hosts: ["localhost"] }
]

const check = ({ headers, hosts, method = "POST", origins }: Case): boolean =>
  makePolicy({ origins, hosts }).check({ method, headers }) === undefined

describe("the origin check", () => {
  for (const one of allowed) {
    it(`allows ${one.title}`, () => assert.isTrue(check(one)))
  }
  for (const one of refused) {
    it(`refuses ${one.title}`, () => assert.isFalse(check(one)))
  }
})

describe("the settings of the origin check", () => {
  for (
    const entry of [
      "",
      "*",
      "app.example.com",
      "localhost:3000",
      "https://",
      "https:/a.example",
      "https://a.example/path",
      "https://a.example?",
      "https://a.example#a",
      "https://user@a.example",
      "https://*.example.com",
      "https://a.example, https://b.example",
      " https://a.example",
      "https://a.example:99999",
      "file://"
    ]
  ) {
    it(`throws for the origin ${JSON.stringify(entry)}`, () =>
      assert.throws(
        () => makePolicy({ origins: ["https://a.example", entry] }),
        "InitImageHttp.checkOrigin: origins must be origins such as https://app.example.com, without a path"
      ))
  }
  for (
    const hosts of [[], [""], ["*"], ["https://a.example"], ["a.example/"], ["a.example", "b example"], ["user@a"]]
  ) {
    it(`throws for the hosts ${JSON.stringify(hosts)}`, () =>
      assert.throws(
        () => makePolicy({ hosts }),
        "InitImageHttp.checkOrigin: hosts must be one or more host names such as app.example.com, without a scheme"
      ))
  }
  it("may have no origins", () => assert.strictEqual(makePolicy({ origins: [] }).isListed(""), false))
})

const page = "https://a.example"

/** Answers a request to an app with its own `Vary`, and collects the log. */
const answerOf = async (
  settings: Options,
  method: string,
  headers: Record<string, string>,
  app: HttpApp.Default = Effect.succeed(HttpServerResponse.text("ok", { headers: { vary: "Accept" } }))
) => {
  const lines: Array<string> = []
  const handler = HttpApp.toWebHandler(
    middleware(settings)(app).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, (line) => lines.push(line)))),
      Logger.withMinimumLogLevel(LogLevel.Debug)
    )
  )
  const response = await handler(new Request("http://server.example/", { method, headers }))
  return { response, text: await response.text(), lines }
}

const corsHeaders = ({ headers }: Response) =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith("access-control-") || name === "vary"))

const answered = {
  "access-control-allow-origin": page,
  "access-control-expose-headers": "Content-Disposition, Retry-After",
  "vary": "Accept, Origin"
}

describe("the CORS answers", () => {
  for (const method of ["GET", "HEAD", "PUT", "POST", "DELETE"]) {
    it(`let pages of an allowed origin read the response to a ${method}`, async () => {
      const { response } = await answerOf({ origins: [`${page}/`] }, method, { origin: page })
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(corsHeaders(response), answered)
    })

    it(`to a preflight allow a ${method} with each header that the page asks for`, async () => {
      const { response } = await answerOf({ origins: ["https://b.example", page] }, "OPTIONS", {
        "origin": page,
        "access-control-request-method": method,
        "access-control-request-headers": "content-type,traceparent"
      })
      assert.strictEqual(response.status, 204)
      assert.deepInclude(corsHeaders(response), {
        "access-control-allow-origin": page,
        "access-control-allow-headers": "content-type,traceparent",
        "access-control-max-age": "600"
      })
      assert.include(response.headers.get("access-control-allow-methods") ?? "", method)
    })
  }

  it("are on the response to a failure too", async () => {
    const { response } = await answerOf({ origins: [page] }, "PUT", { origin: page }, Effect.die("a bug"))
    assert.strictEqual(response.status, 500)
    assert.deepStrictEqual(corsHeaders(response), { ...answered, vary: "Origin" })
  })

  it("are not for other origins, and tell caches that they differ", async () => {
    for (const headers of [{ origin: "https://b.example" }, {}, { origin: "null" }]) {
      const { response } = await answerOf({ origins: [page] }, "GET", headers)
      assert.deepStrictEqual(corsHeaders(response), { vary: "Accept, Origin" })
      const preflight = await answerOf({ origins: [page] }, "OPTIONS", {
        ...headers,
        "access-control-request-method": "PUT"
      })
      assert.deepStrictEqual(corsHeaders(preflight.response), { vary: "Accept, Origin" })
    }
  })

  it("do not exist without origins", async () => {
    for (const settings of [{}, { origins: [] }]) {
      assert.deepStrictEqual(corsHeaders((await answerOf(settings, "GET", { origin: page })).response), {
        vary: "Accept"
      })
    }
  })

  it("leave other OPTIONS requests to the app, and a Vary with Origin as it is", async () => {
    for (const vary of ["*", "origin", "accept, ORIGIN"]) {
      const app = Effect.succeed(HttpServerResponse.text("ok", { headers: { vary } }))
      const { response, text } = await answerOf({ origins: [page] }, "OPTIONS", { origin: page }, app)
      assert.strictEqual(text, "ok")
      assert.strictEqual(response.headers.get("vary"), vary)
    }
  })
})

describe("a refused request", () => {
  const refusal = async (settings: Options, headers: Record<string, string>) => {
    const { lines, response, text } = await answerOf(settings, "PUT", headers)
    assert.strictEqual(response.status, 403)
    assert.strictEqual(response.headers.get("content-type"), "application/json")
    const body: { readonly _tag: string; readonly message: string } = JSON.parse(text)
    assert.deepStrictEqual(Object.keys(body), ["_tag", "message"])
    assert.strictEqual(body._tag, "Forbidden")
    assert.lengthOf(lines, 1)
    assert.include(lines[0], "level=DEBUG")
    return { message: body.message, line: String(lines[0]), response }
  }

  it("is answered in JSON, and the log says which option lacks its origin", async () => {
    for (const origin of ["https://evil.example", "http://[::1]:8080", "null", "chrome-extension://abc"]) {
      const { line, message } = await refusal({ origins: [page] }, { host: "server.example", origin })
      assert.strictEqual(message, "The server takes no requests from pages of this origin.")
      assert.include(line, `its origin ${origin} is neither in the option origins nor that of its Host header`)
    }
  })

  it("without an origin is answered in JSON, and the log names Sec-Fetch-Site", async () => {
    const { line, message } = await refusal({ origins: [page] }, { host: "server.example", ...crossSite })
    assert.strictEqual(message, "The server takes no requests from pages of this origin.")
    assert.include(line, "it has no origin, and its Sec-Fetch-Site names another site's page")
  })

  it("puts nothing of a client into the log that is not an origin", async () => {
    for (
      const origin of ["secret", "https://evil.example/secret", "https://secret\"@a", `https://${"secret".repeat(99)}`]
    ) {
      const { line } = await refusal({}, { host: "server.example", origin })
      assert.include(line, "its origin is neither in the option origins")
      assert.notInclude(line, "secret")
    }
  })

  it("to another host is answered in JSON, and the log says which option lacks it", async () => {
    const { line, message, response } = await refusal(
      { origins: [page], hosts: ["server.example"] },
      { host: "secret.example", origin: page }
    )
    assert.strictEqual(message, "The server does not answer to this host name.")
    assert.include(line, "the name in its Host header is not in the option hosts")
    assert.notInclude(line, "secret")
    assert.strictEqual(response.headers.get("access-control-allow-origin"), page)
  })
})
