/** The program of a child process: decodes one picture at a time, until its parent ends it. */
import sharp from "sharp"
import { decode } from "./decode.js"
import { type Job, ready, type Reply, started } from "./job.js"

/** The loaders of libvips by the formats that they read. All others stay blocked for any file. */
const loaders: Readonly<Record<string, string>> = {
  jpeg: "VipsForeignLoadJpegFile",
  png: "VipsForeignLoadPngFile",
  webp: "VipsForeignLoadWebpFile",
  gif: "VipsForeignLoadNsgifFile",
  avif: "VipsForeignLoadHeifFile"
}

sharp.block({ operation: ["VipsForeignLoad"] })
sharp.unblock({ operation: process.argv.slice(2).flatMap((format) => loaders[format] ?? []) })
// The cache keeps files open after they were removed.
sharp.cache(false)

const defect = (error: unknown): Reply => ({ _tag: "Defect", message: String(error) })

process.on("message", (job: Job) => {
  process.send?.(started)
  void decode(sharp, job).catch(defect).then((reply) => process.send?.(reply))
})
// Not `exit`, which waits for the thread of a running decode.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"))
process.send?.(ready)
