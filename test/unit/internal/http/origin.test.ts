import { assert, describe, it } from "@effect/vitest"
import { makeCheck } from "../../../../src/internal/http/origin.js"

interface Case {
  readonly title: string
  readonly method?: string
  readonly headers: Record<string, string>
  readonly origins?: ReadonlyArray<string>
  readonly hosts?: ReadonlyArray<string>
}

const host = "app.example.com:8787"

const allowed: ReadonlyArray<Case> = [
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
  makeCheck({ origins, hosts })({ method, headers })

describe("the origin check", () => {
  for (const one of allowed) {
    it(`allows ${one.title}`, () => assert.isTrue(check(one)))
  }
  for (const one of refused) {
    it(`refuses ${one.title}`, () => assert.isFalse(check(one)))
  }
})
