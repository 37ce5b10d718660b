/** Hostile forms (RFC 7578). */
import { Buffer } from "node:buffer"
import { png, pngOfSize } from "../../utils/images.js"
import * as mutations from "../mutations.js"
import type { Random } from "../random.js"
import { type Attack, volley } from "./attack.js"
import { request, type Target } from "./client.js"

const image = png()

const part = (fields: string, body: Uint8Array | string): Buffer =>
  Buffer.concat([Buffer.from(`--b\r\n${fields}\r\n\r\n`, "latin1"), Buffer.from(body), Buffer.from("\r\n")])

const file = (body: Uint8Array | string, name = "a.png"): Buffer =>
  part(`Content-Disposition: form-data; name="image"; filename="${name}"\r\nContent-Type: image/png`, body)

const form = (...parts: ReadonlyArray<Uint8Array>): Buffer => Buffer.concat([...parts, Buffer.from("--b--\r\n")])

const send = ({ upload }: Target, body: Uint8Array, boundary = "b"): Buffer =>
  request("POST", upload, `multipart/form-data; boundary=${boundary}`, body)

const names = [
  "../../../etc/cron.d/x",
  "C:\\\\x\\\\y.png",
  "a\0b.png",
  "\u202e.gnp",
  "%2e%2e%2f",
  "a".repeat(5000),
  "\\\"",
  "\u00ff\u00fe",
  ".."
]

const dispositions = [
  "form-data",
  "form-data; name",
  "form-data; name=\"image",
  "form-data; name=image; filename*=UTF-8''%ff%fe",
  "form-data; name=\"image\"; filename=\"a\"; filename=\"b\"",
  "attachment; filename=a",
  `form-data;${" ".repeat(5000)}name=image`,
  `form-data; ${"a=\"\\\\\";".repeat(1000)}`
]

/** Bytes that look like the next boundary almost to its end, which restarts a search for it. */
const almostBoundaries = Buffer.concat([image, Buffer.from(`\r\n--${"b".repeat(68)}c`.repeat(4000))])

const mutated = (random: Random): Uint8Array => {
  const whole = () => form(file(mutations.image(random)))
  return mutations.json(random, whole(), whole)
}

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "forms that are cut anywhere",
    request: (random, _, target) => {
      const whole = form(file(image))
      return send(target, whole.subarray(0, random.below(whole.length - 4)))
    },
    statuses: [400, 422]
  }),
  volley({
    title: "boundaries that are missing, too long or of hostile characters",
    request: (random, _, target) =>
      send(target, form(file(image)), random.pick(["", "\"", "x".repeat(5000), "\u00ff", "b c", "\"b\\\"", "--b"])),
    statuses: [200, 400]
  }),
  volley({
    title: "forms of 1,000 empty parts",
    count: 20,
    request: (_, __, target) =>
      send(target, form(...Array.from({ length: 1000 }, () => part("Content-Disposition: form-data; name=a", "")))),
    statuses: [400]
  }),
  volley({
    title: "parts with a header of 100 KiB",
    count: 40,
    request: (_, i, target) =>
      send(target, form(part(i % 2 === 0 ? `X: ${"a".repeat(100_000)}` : "A: b\r\n".repeat(17_000), image))),
    statuses: [400]
  }),
  volley({
    title: "file names out of the directory",
    request: (random, _, target) => send(target, form(file(image, random.pick(names)))),
    statuses: [200, 400]
  }),
  volley({
    title: "broken dispositions",
    request: (random, _, target) =>
      send(target, form(part(`Content-Disposition: ${random.pick(dispositions)}`, image))),
    statuses: [200, 400]
  }),
  volley({
    title: "text in place of the file, two files, a form in a form",
    request: (_, i, target) =>
      send(
        target,
        i % 3 === 0
          ? form(part("Content-Disposition: form-data; name=image", "iVBORw0KGgo="))
          : i % 3 === 1
          ? form(file(image), file(pngOfSize(3000)))
          : form(
            part(
              "Content-Disposition: form-data; name=image\r\nContent-Type: multipart/mixed; boundary=c",
              "--c\r\n\r\n--c--"
            )
          )
      ),
    statuses: [200, 400, 415]
  }),
  volley({
    title: "files of bytes that are almost the boundary",
    count: 8,
    request: (_, __, target) => {
      const boundary = "b".repeat(69)
      const fields = `--${boundary}\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n`
      return send(
        target,
        Buffer.concat([Buffer.from(fields), almostBoundaries, Buffer.from(`\r\n--${boundary}--\r\n`)]),
        boundary
      )
    },
    statuses: [200]
  }),
  volley({
    title: "200 mutated forms",
    count: 200,
    request: (random, _, target) => send(target, mutated(random)),
    statuses: [200, 400, 413, 415, 422]
  })
]
