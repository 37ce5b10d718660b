/** Hostile JSON messages. */
import { Buffer } from "node:buffer"
import { png } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import * as mutations from "../mutations.js"
import * as payloads from "../payloads.js"
import { type Attack, volley } from "./attack.js"
import { request, type Target } from "./client.js"

const payload = payloadOf("image/png", png())
const text = JSON.stringify(payload)

const send = ({ upload }: Target, body: Uint8Array | string): Buffer =>
  request("POST", upload, "application/json", body)

const escaped = (value: string): string =>
  value.replaceAll(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

const encodings = [
  Buffer.from(text, "utf16le"),
  Buffer.concat([Buffer.of(0xff, 0xfe), Buffer.from(text, "utf16le")]),
  Buffer.from(text.replace("ref", "\u00ff"), "latin1"),
  Buffer.from(text.replace("ref", "\u0000"), "latin1"),
  Buffer.concat([Buffer.from("{\"mime\":\""), Buffer.of(0xed, 0xa0, 0x80), Buffer.from("\"}")])
]

const prototypes = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "then", "toJSON"]

const remote = [
  "http://169.254.169.254/latest/meta-data",
  "file:///etc/passwd",
  "data:text/html;base64,AAAA",
  "gopher://127.0.0.1:1/",
  "//evil.example/a.png"
]

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "messages of nested arrays",
    count: 20,
    request: (_, i, target) => send(target, `{"a":[${i % 2 === 0 ? "[],".repeat(20_000) : "[".repeat(60_000)}`),
    statuses: [400]
  }),
  volley({
    title: "objects that are nested 60,000 levels deep",
    count: 20,
    request: (_, __, target) => send(target, "{\"a\":".repeat(12_000)),
    statuses: [400]
  }),
  volley({
    title: "the same key twice",
    request: (random, _, target) =>
      send(target, text.replace("{", `{"${random.pick(["mime", "data", "name", "d\\u0061ta"])}":"",`)),
    statuses: [400, 415]
  }),
  volley({
    title: "names of prototypes as keys",
    request: (random, _, target) => send(target, text.replace("{", `{"${random.pick(prototypes)}":{"mime":1},`)),
    statuses: [200]
  }),
  volley({
    title: "1 MB beside the data",
    count: 10,
    request: (random, _, target) =>
      send(target, text.replace("ref", random.pick(["a", "\\u0000", "\u00e9", "\\\\"]).repeat(200_000))),
    statuses: [400]
  }),
  volley({
    title: "numbers of 60,000 digits",
    count: 40,
    request: (random, _, target) =>
      send(target, text.replace("\"ref\"", `${random.pick(["1", "-0.", "1e"])}${"9".repeat(60_000)}`)),
    statuses: [200, 400]
  }),
  volley({
    title: "other encodings than UTF-8",
    request: (random, _, target) => send(target, random.pick(encodings)),
    statuses: [200, 400]
  }),
  volley({
    title: "messages of escapes alone",
    request: (_, __, target) =>
      send(target, `{"${escaped("mime")}":"${escaped(payload.mime)}","${escaped("data")}":"${escaped(payload.data)}"}`),
    statuses: [200]
  }),
  volley({
    title: "addresses and scripts in place of the data",
    request: (random, i, target) =>
      send(
        target,
        JSON.stringify(
          i % 2 === 0 ? { mime: "image/png", data: random.pick(remote) } : { image_url: { url: random.pick(remote) } }
        )
      ),
    statuses: [400, 415]
  }),
  volley({
    title: "base64 that is none",
    request: (random, _, target) =>
      send(target, JSON.stringify({ ...payload, data: mutations.text(random, payload.data) })),
    statuses: [200, 400, 415, 422]
  }),
  volley({
    title: "400 mutated messages",
    count: 400,
    request: (random, _, target) => send(target, payloads.message(random, [])),
    statuses: [200, 400, 413, 415, 422]
  })
]
