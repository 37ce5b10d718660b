/** CPU time of this process for each image of 70 bytes, written and removed, at several concurrencies. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { InitImageFrame, SessionInitImage } from "../../../src/index.js"
import { at, makeFrame, parse } from "../frame.js"
import { collectGarbage, median, repeatConcurrently } from "../measure.js"

const imageSize = 70

export const names = [
  "fs.promises.writeFile + unlink",
  "FileSystem.writeFile + remove",
  "persistScoped",
  "InitImageFrame.persistScoped",
  "persistStreamScoped"
] as const

export type Name = typeof names[number]

export interface Options {
  readonly name: Name
  /** Images that are under way at the same time. */
  readonly atOnce: ReadonlyArray<number>
  readonly warmUp: number
  readonly images: number
  readonly rounds: number
  readonly directory: string
}

export interface Row {
  readonly name: Name
  readonly atOnce: number
  /** CPU time for each image, all threads, in milliseconds. */
  readonly cpu: number
}

const runtime = ManagedRuntime.make(NodeContext.layer)

/** Returns a function that writes one image and removes it. */
const prepare: Readonly<Record<Name, (frame: Buffer, directory: string) => () => Promise<void>>> = {
  "fs.promises.writeFile + unlink": (frame, directory) => {
    const bytes = Buffer.from(parse(frame.toString()).data, "base64")
    return async () => {
      const file = path.join(directory, randomUUID())
      await fs.promises.writeFile(file, bytes, { flag: "wx", mode: 0o600 })
      await fs.promises.unlink(file)
    }
  },
  "FileSystem.writeFile + remove": (frame, directory) => {
    const bytes = Buffer.from(parse(frame.toString()).data, "base64")
    const effect = Effect.flatMap(FileSystem.FileSystem, (fs) => {
      const file = path.join(directory, randomUUID())
      return Effect.zipRight(fs.writeFile(file, bytes, { flag: "wx", mode: 0o600 }), fs.remove(file))
    })
    return () => runtime.runPromise(effect)
  },
  persistScoped: (frame, directory) => {
    const effect = SessionInitImage.persistScoped(parse(frame.toString()), { directory })
    return () => runtime.runPromise(Effect.scoped(Effect.asVoid(effect)))
  },
  "InitImageFrame.persistScoped": (frame, directory) => {
    const effect = InitImageFrame.persistScoped(frame, { at }, { directory })
    return () => runtime.runPromise(Effect.scoped(Effect.asVoid(effect)))
  },
  persistStreamScoped: (frame, directory) => {
    const { data, mime } = parse(frame.toString())
    const bytes = Stream.make(Buffer.from(data, "base64"))
    const effect = SessionInitImage.persistStreamScoped({ mime }, bytes, { directory })
    return () => runtime.runPromise(Effect.scoped(Effect.asVoid(effect)))
  }
}

const cpuOf = async (run: () => Promise<void>): Promise<number> => {
  const before = process.cpuUsage()
  await run()
  const { system, user } = process.cpuUsage(before)
  return (user + system) / 1000
}

export const run = async (options: Options): Promise<ReadonlyArray<Row>> => {
  const { directory, images, name, rounds, warmUp } = options
  const persistOne = prepare[name](makeFrame("png", imageSize), directory)
  const entries = options.atOnce.map((atOnce) => ({ atOnce, cpu: new Array<number>() }))
  for (const { atOnce } of entries) await repeatConcurrently(atOnce, warmUp, persistOne)
  for (let round = 0; round < rounds; round++) {
    for (const { atOnce, cpu } of entries) {
      collectGarbage()
      cpu.push(await cpuOf(() => repeatConcurrently(atOnce, images, persistOne)) / images)
    }
  }
  return entries.map(({ atOnce, cpu }) => ({ name, atOnce, cpu: median(cpu) }))
}
