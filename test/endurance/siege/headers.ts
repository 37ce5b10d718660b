/** Hostile request lines and header fields. */
import { Buffer } from "node:buffer"
import { png } from "../../utils/images.js"
import { type Attack, volley } from "./attack.js"
import { head, post } from "./client.js"

const image = png()

const brokenFields = [
  "X\0: a",
  "X Y: a",
  "X : a",
  ": a",
  "X: a\r\n folded",
  "X: a\0b",
  "X: a\rb",
  "\u00ff: a",
  "X",
  "X: a\n\nGET / HTTP/1.1"
]

const targets = [
  "*",
  "//",
  "/../../etc/passwd",
  "/%2e%2e/%2e%2e/etc/passwd",
  "/%",
  "/%00",
  "/%ff%fe",
  "/assets/..%2f..%2fpackage.json",
  "/\\..\\..",
  "http://evil.example/healthz",
  `/${"a/".repeat(2000)}`,
  `/healthz?${"a=b&".repeat(2000)}`,
  "/docs/%5c",
  "/page.js%00.css",
  "/sessions",
  "/sessions//init-image"
]

const mediaTypes = [
  "",
  ";",
  "image/png;".repeat(500),
  "image/\u00ff",
  "multipart/form-data",
  "application/json; charset=utf-16",
  "text/html",
  "image/png\tx",
  "*/*"
]

const methods = ["PATCH", "TRACE", "PROPFIND", "SUBSCRIBE", "SEARCH", "QUERY", "LINK"]

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "headers of 20 KiB in one field, in 2,000 and in the path",
    everywhere: true,
    request: (_, i) =>
      i % 3 === 0
        ? head("GET", "/healthz", { "X-A": "a".repeat(20_000) })
        : i % 3 === 1
        ? head("GET", "/healthz", Object.fromEntries(Array.from({ length: 2000 }, (_, k) => [`A-${k}`, "bcdef"])))
        : head("GET", `/${"a".repeat(20_000)}`),
    statuses: [431]
  }),
  volley({
    title: "fields with control characters, blanks and folded lines",
    everywhere: true,
    request: (random) => `GET /healthz HTTP/1.1\r\nHost: localhost\r\n${random.pick(brokenFields)}\r\n\r\n`,
    statuses: [400]
  }),
  volley({
    title: "targets out of the tree, with broken escapes and of 4,000 characters",
    request: (random) => head(random.pick(["GET", "HEAD"]), random.pick(targets)),
    statuses: [200, 400, 403, 404]
  }),
  volley({
    title: "unknown methods and versions",
    everywhere: true,
    request: (random, i, { upload }) =>
      i % 2 === 0
        ? head(random.pick(methods), upload)
        : `${random.pick(["GET", "get", "G\0T", ""])} / HTTP/${
          random.pick(["9.9", "1.11", "x", "0.9", "2.0"])
        }\r\n\r\n`,
    statuses: [400, 404]
  }),
  volley({
    title: "Content-Types without a meaning",
    request: (random, _, target) => post(target, image, { "Content-Type": random.pick(mediaTypes) }),
    statuses: [200, 400, 415]
  }),
  volley({
    title: "no Host, two of them, and strange ones",
    request: (random, i) =>
      i % 2 === 0
        ? `GET /healthz HTTP/1.1\r\n${random.pick(["", "Host: a\r\nHost: b\r\n"])}\r\n`
        : `GET /healthz HTTP/1.1\r\nHost: ${
          random.pick(["", "[", "a b", "a:b:c", "localhost@evil.example", "\u00ff"])
        }\r\n\r\n`,
    statuses: [400, 403]
  }),
  volley({
    title: "expectations that no server meets",
    everywhere: true,
    request: (random, _, target) =>
      post(target, image, { Expect: random.pick(["200-ok", "100-continue, x", "x".repeat(1000)]) }),
    statuses: [200, 417]
  }),
  volley({
    title: "ranges, conditions and forwarded addresses",
    request: (random) =>
      head("GET", "/openapi.json", {
        "Range": `bytes=${"0-1,".repeat(1000)}${random.next()}-`,
        "If-None-Match": `"${"x".repeat(1000)}"`,
        "If-Modified-Since": "x",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-For": Buffer.alloc(1000, ",").toString(),
        "Accept-Encoding": "gzip;q=0.\u00ff"
      }),
    statuses: [200]
  })
]
