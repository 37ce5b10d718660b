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
  { title: "no origin and no host, as of HTTP/1.0", headers: {}, hosts: ["app.example.com"] },
  { title: "the server's own origin", headers: { host, origin: "http://app.example.com:8787" } },
  { title: "its own behind a proxy", headers: { host: "app.example.com", origin: "https://app.example.com" } },
  { title: "its own, the default port said", headers: { host: "a.example:443", origin: "https://a.example" } },
  { title: "its own in another case", headers: { host: "App.Example.com", origin: "http://app.example.com" } },
  { title: "its own of IPv6", headers: { host: "[::1]:8787", origin: "http://[::1]:8787" }, hosts: ["::1"] },
  {
    title: "an origin of the list",
    headers: { host, origin: "https://b.example" },
    origins: ["https://B.example:443/"]
  },
  { title: "an extension of the list", headers: { host, origin: "ext://abc" }, origins: ["ext://abc"] },
  { title: "a hidden origin of the list", headers: { host, origin: "null" }, origins: ["null"] },
  { title: "a name of the list", headers: { host, origin: `http://${host}` }, hosts: ["APP.example.com"] },
  { title: "a name of the list with its port", headers: { host }, hosts: [host] },
  {
    title: "a name of another script of the list",
    headers: { host: "xn--bcher-kva.example" },
    hosts: ["bücher.example"]
  },
  { title: "a read from another site", method: "GET", headers: { host, origin: "https://evil.example" } },
  { title: "a HEAD from another site", method: "HEAD", headers: { host, origin: "https://evil.example" } },
  { title: "a preflight from another site", method: "OPTIONS", headers: { host, origin: "https://evil.example" } }
]

const upgrade = { host, upgrade: "websocket" }

const refused: ReadonlyArray<Case> = [
  { title: "another site", headers: { host, origin: "https://evil.example" } },
  { title: "another port of the same name", headers: { host, origin: "http://app.example.com:3000" } },
  { title: "another name that ends alike", headers: { host, origin: "http://evilapp.example.com:8787" } },
  { title: "a hidden origin", headers: { host, origin: "null" } },
  { title: "what is no origin", headers: { host, origin: "" } },
  { title: "a hidden origin beside an extension", headers: { host, origin: "null" }, origins: ["ext://abc"] },
  { title: "an extension of the server's name", headers: { host, origin: `ext://${host}` } },
  { title: "a scheme that ends as a web page's", headers: { host, origin: `xhttp://${host}` } },
  { title: "an origin of a name like nothing, and no host", headers: { origin: "http://undefined" } },
  { title: "an origin and no host", headers: { origin: "http://app.example.com" } },
  { title: "an origin and a host that is none", headers: { host: ":::", origin: "http://app.example.com" } },
  {
    title: "a list that has another one",
    headers: { host, origin: "https://c.example" },
    origins: ["https://b.example"]
  },
  { title: "an upgrade from another site", method: "GET", headers: { ...upgrade, origin: "https://evil.example" } },
  {
    title: "a name of another site",
    headers: { host: "evil.example", origin: "http://evil.example" },
    hosts: ["localhost"]
  },
  { title: "a read at a name of another site", method: "GET", headers: { host: "evil.example" }, hosts: ["localhost"] },
  {
    title: "an upgrade at such a name",
    method: "GET",
    headers: { ...upgrade, host: "evil.example" },
    hosts: ["localhost"]
  },
  {
    title: "an origin of the list at such a name",
    headers: { host: "evil.example", origin: "https://b.example" },
    origins: ["https://b.example"],
    hosts: ["localhost"]
  },
  { title: "a host that is none", method: "GET", headers: { host: ":::" }, hosts: ["localhost"] }
]

const check = ({ headers, hosts, method = "POST", origins }: Case): boolean =>
  makeCheck({ origins, hosts })({ method, headers })

describe("an origin", () => {
  for (const one of allowed) {
    it(`is let through: ${one.title}`, () => assert.isTrue(check(one)))
  }
  for (const one of refused) {
    it(`is refused: ${one.title}`, () => assert.isFalse(check(one)))
  }
})
