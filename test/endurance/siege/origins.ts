/** Pages of other sites in the browser of a server's user. */
import { png } from "../../utils/images.js"
import { type Attack, volley } from "./attack.js"
import { head, post, request, sessionPath, upgrade } from "./client.js"

const image = png()

const origins = [
  "https://evil.example",
  "null",
  "file://",
  "http://localhost.evil.example",
  "http://127.0.0.1.nip.io",
  "http://localhost@evil.example",
  "http://localhost:1",
  "http://",
  "\u00ff",
  `https://${"a".repeat(5000)}.example`,
  "http://localhost, https://evil.example"
]

const hosts = [
  "evil.example",
  "127.0.0.1.nip.io",
  "localhost.evil.example",
  "a",
  "10.0.0.1",
  "xn--lcalhost-54a"
]

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "uploads of pages of other sites",
    request: (random, i, target) =>
      i % 2 === 0
        ? post(target, image, { Origin: random.pick(origins) })
        : request("PUT", sessionPath("page"), "image/png", image, { Origin: random.pick(origins) }),
    statuses: [403]
  }),
  volley({
    title: "removals by pages of other sites",
    request: (random) => head("DELETE", sessionPath("page"), { Origin: random.pick(origins) }),
    statuses: [403]
  }),
  volley({
    title: "WebSockets of pages of other sites",
    request: (random, _, { stream }) => upgrade(stream, "websocket", { Origin: random.pick(origins) }),
    statuses: [403]
  }),
  volley({
    title: "requests and WebSockets of other sites without an Origin",
    request: (_, i, target) =>
      i % 2 === 0
        ? post(target, image, { "Sec-Fetch-Site": "cross-site" })
        : upgrade(target.stream, "websocket", { "Sec-Fetch-Site": "cross-site" }),
    statuses: [403]
  }),
  volley({
    title: "host names that are bound to the loopback address",
    request: (random, _, target) => {
      const fields = { Host: random.pick(hosts) }
      const [line, , ...rest] = post(target, image).toString("latin1").split("\r\n")
      return [line, `Host: ${fields.Host}`, ...rest].join("\r\n")
    },
    statuses: [403]
  }),
  volley({
    title: "preflights of pages of other sites",
    request: (random) =>
      head("OPTIONS", sessionPath("page"), {
        "Origin": random.pick(origins),
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "x,".repeat(1000)
      }),
    statuses: [204, 403, 404]
  }),
  volley({
    title: "refused uploads that wait for 100 Continue",
    count: 200,
    request: (_, i, { upload }) =>
      head("POST", upload, {
        "Expect": "100-continue",
        "Content-Length": "1000000",
        ...i % 2 === 0 ? { "Sec-Fetch-Site": "cross-site" } : { Origin: "https://evil.example" }
      }),
    statuses: [403]
  })
]
