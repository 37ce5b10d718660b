/** Hostile images. */
import { Buffer } from "node:buffer"
import {
  ascii,
  concat,
  dqt,
  eoi,
  exif,
  jpeg,
  png,
  pngChunk,
  riff,
  segment,
  sof,
  soi,
  vp8x,
  webp,
  webpChunk
} from "../../utils/images.js"
import * as mutations from "../mutations.js"
import { type Attack, volley } from "./attack.js"
import { post, request } from "./client.js"

const valid = [
  { mime: "image/png", all: png() },
  { mime: "image/jpeg", all: jpeg() },
  { mime: "image/webp", all: webp() }
] as const

/** A PNG ends with the type of its last chunk: the checksum behind it may be missing. */
const lastChecksum = 5

const bombs = [
  { mime: "image/png", all: png({ width: 64_250, height: 64_250 }) },
  { mime: "image/png", all: png({ width: 0x7fffffff, height: 0x7fffffff }) },
  { mime: "image/jpeg", all: concat(soi, dqt(), sof({ width: 65_535, height: 65_535 })) },
  { mime: "image/webp", all: webp({ width: 16_384, height: 16_384 }) }
] as const

const polyglots = [
  "GIF89a\x01\0\x01\0",
  "%PDF-1.7\n",
  "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
  "<!doctype html><script>",
  "PK\x03\x04",
  "\x7fELF",
  "#!/bin/sh\n",
  "\0\0\0\x18ftypavif"
].map((start) => concat(ascii(start), png()))

const tiny = Buffer.concat(Array.from({ length: 20_000 }, () => pngChunk("tEXt")))
const manyParts = [
  { mime: "image/png", all: png({ chunks: [tiny] }) },
  { mime: "image/webp", all: riff(vp8x(1, 1), ...Array.from({ length: 20_000 }, () => webpChunk("XMP "))) }
] as const

const orientations = [
  { orientation: 6, others: 5000 },
  { orientation: 6, directory: 60_000 },
  { orientation: 65_535 },
  { orientation: 3, count: 10_000 },
  { orientation: 1, type: 99 }
].map((options) => png({ chunks: [pngChunk("eXIf", exif(options))] }))

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "pictures of empty segments",
    count: 4,
    request: (_, __, { upload }) =>
      request(
        "POST",
        upload,
        "image/jpeg",
        concat(soi, Buffer.concat(Array.from({ length: 250_000 }, () => segment(0xfe))), eoi)
      ),
    statuses: [422]
  }),
  volley({
    title: "pictures of 20,000 empty chunks",
    count: 10,
    request: (random, _, { upload }) => {
      const { all, mime } = random.pick(manyParts)
      return request("POST", upload, mime, all)
    },
    statuses: [200, 422]
  }),
  volley({
    title: "pictures of billions of pixels",
    request: (random, _, { upload }) => {
      const { all, mime } = random.pick(bombs)
      return request("POST", upload, mime, all)
    },
    statuses: [422]
  }),
  volley({
    title: "pictures that are cut at every byte",
    count: 200,
    request: (_, i, { upload }) => {
      const { all, mime } = valid[i % valid.length] ?? valid[0]
      return request("POST", upload, mime, all.subarray(0, 1 + i % (all.length - lastChecksum)))
    },
    statuses: [415, 422]
  }),
  volley({
    title: "other files with an image behind their start",
    request: (random, _, target) => post(target, random.pick(polyglots)),
    statuses: [415]
  }),
  volley({
    title: "types that the bytes contradict",
    request: (_, i, { upload }) => request("POST", upload, valid[i % 3]?.mime ?? "", valid[(i + 1) % 3]?.all ?? ""),
    statuses: [415]
  }),
  volley({
    title: "hostile EXIF directories",
    request: (random, _, target) => post(target, random.pick(orientations)),
    statuses: [200]
  }),
  volley({
    title: "400 mutated pictures",
    count: 400,
    request: (random, _, { upload }) => {
      const all = mutations.image(random)
      return request("POST", upload, random.chance(0.8) ? "application/octet-stream" : "image/png", all)
    },
    statuses: [200, 400, 415, 422]
  })
]
