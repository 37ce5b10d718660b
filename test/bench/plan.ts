/** The measured variants, sizes and repetitions. */
import { type Format, mebibyte } from "./frame.js"
import type { CpuOptions } from "./tasks/cpu.js"
import { names, type Source } from "./variants.js"

export const sections = [
  "persist",
  "frame",
  "refusals",
  "memory",
  "concurrent",
  "small",
  "server",
  "cpu",
  "socket"
] as const

export type Section = typeof sections[number]

export interface Size {
  readonly label: string
  readonly format: Format
  readonly size: number
  /** Names of variants. */
  readonly only: ReadonlyArray<string>
  readonly rounds: number
  readonly delayRounds: number
  /** Fresh processes for each variant. */
  readonly memoryRounds: number
  readonly warmUp: number
}

const all = Object.values(names)

/** Verification costs more for a JPEG, whose scan has no length: only the verifying variants and their references. */
const forJpeg = [names.persist, names.frame, names.loop, names.buffer]

export const sizes: ReadonlyArray<Size> = [
  { label: "4 KiB", format: "png", size: 4096, only: all, rounds: 11, delayRounds: 5, memoryRounds: 1, warmUp: 500 },
  { label: "64 KiB", format: "png", size: 65_536, only: all, rounds: 11, delayRounds: 5, memoryRounds: 1, warmUp: 500 },
  { label: "1 MiB", format: "png", size: mebibyte, only: all, rounds: 11, delayRounds: 5, memoryRounds: 1, warmUp: 40 },
  {
    label: "8 MiB",
    format: "png",
    size: 8 * mebibyte,
    only: all,
    rounds: 9,
    delayRounds: 5,
    memoryRounds: 1,
    warmUp: 40
  },
  {
    label: "32 MiB",
    format: "png",
    size: 32 * mebibyte,
    only: all,
    rounds: 9,
    delayRounds: 5,
    memoryRounds: 3,
    warmUp: 40
  },
  {
    label: "32 MiB JPEG",
    format: "jpeg",
    size: 32 * mebibyte,
    only: forJpeg,
    rounds: 9,
    delayRounds: 5,
    memoryRounds: 1,
    warmUp: 40
  }
]

/** For a smoke run: executes all code; the figures are meaningless. */
export const quickSizes: ReadonlyArray<Size> = sizes
  .filter(({ label }) => label === "64 KiB" || label === "32 MiB")
  .map((size) => ({ ...size, rounds: 2, delayRounds: 1, memoryRounds: 1, warmUp: 1 }))

/** The image size for warming up the memory sections, small enough to leave no large buffers behind. */
export const warmUpSize = 64 * 1024

/** Cycles through all variants, with a fresh process for each. */
export const cycles = { concurrent: 1, growth: 3 }

export const rounds = { refusals: 15, concurrent: 5, requests: 9, socket: 9, upload: 9 }

type CpuPlan = Omit<CpuOptions, "directory">

export const cpu: CpuPlan = {
  posts: [
    { label: "70 B", size: 70, images: 1280 },
    { label: "300 KiB", size: 300 * 1024, images: 320 },
    { label: "1 MiB", size: mebibyte, images: 128 }
  ],
  atOnce: 64,
  warmUpRounds: 3,
  rounds: 9
}

export const quickCpu: CpuPlan = {
  ...cpu,
  posts: cpu.posts.map((posts) => ({ ...posts, images: cpu.atOnce })),
  warmUpRounds: 1,
  rounds: 1
}

/** Fresh processes for each variant, and the work in each. */
export const small = { cycles: 3, atOnce: [1, 4, 64], warmUp: 4000, images: 1000, rounds: 5 }

export const quickSmall: typeof small = { ...small, cycles: 1, warmUp: 100, images: 100, rounds: 1 }

export const sourcesOf: Readonly<Record<"persist" | "frame", ReadonlyArray<Source>>> = {
  persist: ["payload"],
  frame: ["text", "bytes", "stream"]
}

export interface Load {
  readonly label: string
  readonly sessions: number
  readonly size: number
}

export const loads: ReadonlyArray<Load> = [
  { label: "64 × 1 MiB", sessions: 64, size: mebibyte },
  { label: "8 × 32 MiB", sessions: 8, size: 32 * mebibyte }
]

export const loaded: ReadonlyArray<{ readonly name: string; readonly from: Source }> = [
  { name: names.persist, from: "payload" },
  { name: names.persist, from: "bytes" },
  { name: names.frame, from: "bytes" },
  { name: names.frame, from: "stream" },
  { name: names.loop, from: "payload" },
  { name: names.buffer, from: "payload" },
  { name: names.buffer, from: "bytes" },
  { name: names.encoding, from: "payload" }
]
