/** The figures of a run, with the machine and the versions. */
import { readFileSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { root } from "./paths.js"
import type * as plan from "./plan.js"
import * as Python from "./python.js"
import type { ServerName } from "./servers.js"
import type * as client from "./tasks/client.js"
import type * as concurrent from "./tasks/concurrent.js"
import type * as cpu from "./tasks/cpu.js"
import type * as memory from "./tasks/memory.js"
import type * as refusals from "./tasks/refusals.js"
import type * as small from "./tasks/small.js"
import type * as socket from "./tasks/socket.js"
import type * as timing from "./timing.js"
import type { Source } from "./variants.js"

export interface TimingRow extends timing.Row {
  /** The label of the size. */
  readonly image: string
}

export interface MemoryRow extends memory.Result {
  readonly image: string
  readonly name: string
  readonly from: Source
}

export interface ConcurrentRow extends concurrent.Result {
  readonly load: plan.Load["label"]
  readonly name: string
  readonly from: Source
}

export interface ServerRow extends client.Row {
  /** In bytes. */
  readonly growth: number
}

export interface SocketRow extends socket.Result {
  readonly how: "text frame" | "binary frames"
  /** The longest turn of the server's event loop: the median of the runs and the maximum, in milliseconds. */
  readonly turn: number
  readonly worstTurn: number
}

/** A section that was not asked for is empty. */
export interface Results {
  readonly machine: ReturnType<typeof machine>
  readonly versions: ReturnType<typeof versions>
  readonly timing: ReadonlyArray<TimingRow>
  readonly memory: ReadonlyArray<MemoryRow>
  readonly refusals: ReadonlyArray<refusals.Row>
  readonly concurrent: ReadonlyArray<ConcurrentRow>
  readonly small: ReadonlyArray<small.Row>
  readonly server: ReadonlyArray<ServerRow>
  readonly cpu: ReadonlyArray<cpu.CpuRow>
  readonly upload: ReadonlyArray<cpu.UploadRow>
  readonly socket: ReadonlyArray<SocketRow>
}

export const machine = () => ({
  cpu: os.cpus()[0]?.model.trim() ?? "unknown",
  cores: os.availableParallelism(),
  memory: os.totalmem(),
  kernel: `${os.type()} ${os.release()} ${os.arch()}`
})

const own = ["effect", "@effect/platform", "@effect/platform-node"]
/** Installed by `npm run tools`. */
const rivals = ["fastify", "express"]

// Not `require`: some packages do not export their manifest.
const versionOf = (name: string, directory: string): string =>
  (JSON.parse(readFileSync(path.join(directory, "node_modules", name, "package.json"), "utf8")) as {
    readonly version: string
  }).version

export const versions = () => ({
  node: process.versions.node,
  v8: process.versions.v8,
  python: Python.version ?? null,
  ...Object.fromEntries([
    ...own.map((name) => [name, versionOf(name, root)] as const),
    ...rivals.map((name) => [name, versionOf(name, path.join(root, "test"))] as const)
  ])
})

export const timingOf = ({ timing }: Results, image: string, name: string, from: Source): TimingRow | undefined =>
  timing.find((row) => row.image === image && row.name === name && row.from === from)

export const memoryOf = ({ memory }: Results, image: string, name: string, from: Source): MemoryRow | undefined =>
  memory.find((row) => row.image === image && row.name === name && row.from === from)

export const serverOf = ({ server }: Results, name: ServerName): ServerRow | undefined =>
  server.find((row) => row.name === name)

export const cpuOf = ({ cpu }: Results, image: string, name: ServerName): cpu.CpuRow | undefined =>
  cpu.find((row) => row.image === image && row.name === name)

export const uploadOf = ({ upload }: Results, name: cpu.UploadRow["name"]): number | undefined =>
  upload.find((row) => row.name === name)?.milliseconds
