/**
 * Compares `put` of an image of 32 MiB with undici and the same signing, against a Ceph that runs beside it: `npm run
 * bench:store`. Interleaved rounds in one process. Memory is sampled in rounds of its own, since that takes time, as the
 * peak over the baseline. Then imports the entry point in processes that have imported `effect` and `@effect/platform`.
 */
import { AwsV4Signer } from "aws4fetch"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { execFileSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { request } from "undici"
import { InitImageStore } from "../../src/InitImageStore.js"
import { SessionInitImage } from "../../src/SessionInitImage.js"
import * as cephs from "../utils/ceph.js"
import * as s3 from "../utils/s3.js"
import { collectGarbage, median, settle, timed } from "./measure.js"
import { root } from "./paths.js"

const rounds = 25
const bytes = 32 * 1024 * 1024
const highWaterMark = 512 * 1024

const threadTurns = () => {
  let last = performance.now()
  let longest = 0
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }, 1)
  return () => {
    clearInterval(timer)
    return longest
  }
}

const memory = () => {
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return (arrayBuffers + heapUsed) / 1024 / 1024
}

const measureTime = async (run: () => Promise<unknown>) => {
  collectGarbage()
  await sleep(20)
  const turns = threadTurns()
  const cpu = process.cpuUsage()
  const { milliseconds } = await timed(run)
  const { system, user } = process.cpuUsage(cpu)
  return { milliseconds, cpu: (system + user) / 1000, delay: turns() }
}

const measureMemory = async (run: () => Promise<unknown>) => {
  await settle(async () => void await run())
  const before = memory()
  let peak = before
  const sampler = setInterval(() => {
    peak = Math.max(peak, memory())
  }, 2)
  await run()
  clearInterval(sampler)
  return peak - before
}

const directory = mkdtempSync(join(tmpdir(), "init-image-bench-"))
const path = join(directory, "image.png")
writeFileSync(path, randomBytes(bytes))
const image = new SessionInitImage({
  path,
  bytes,
  displayName: "image.png",
  mime: "image/png",
  width: 1,
  height: 1,
  orientation: 1
})

const ceph = await cephs.start(join(root, "test/utils/ceph.sh"))
const runtime = ManagedRuntime.make(s3.layer(ceph))

const put = (image: SessionInitImage) => () =>
  runtime.runPromise(Effect.flatMap(InitImageStore, (store) => store.put(image)))
const library = put(image)
/** Of an image whose SHA-256 was taken as it was written. */
const hashed = put(
  new SessionInitImage({ ...image, sha256: createHash("sha256").update(readFileSync(path)).digest("hex") })
)

const raw = async () => {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path, { highWaterMark })) hash.update(chunk as Buffer)
  const { accessKeyId, bucket, endpoint, region, secretAccessKey } = ceph
  const signed = await new AwsV4Signer({
    method: "PUT",
    url: `${endpoint}/${bucket}/raw`,
    headers: { "x-amz-content-sha256": hash.digest("hex") },
    accessKeyId,
    secretAccessKey,
    region,
    service: "s3"
  }).sign()
  const { body, statusCode } = await request(signed.url, {
    method: "PUT",
    headers: { ...Object.fromEntries(signed.headers), "content-length": String(bytes), "content-type": "image/png" },
    body: createReadStream(path, { highWaterMark })
  })
  await body.dump()
  if (statusCode !== 200) throw new Error(`answered ${statusCode}`)
}

const importTime = (): number =>
  Number(execFileSync(process.execPath, [
    "--input-type=module",
    "--eval",
    `await import("effect")
    await import("@effect/platform")
    const before = performance.now()
    await import("./dist/InitImageStore.js")
    console.log(performance.now() - before)`
  ], { cwd: root, encoding: "utf8" }))

const contestants = { library, hashed, raw }
const names = ["library", "hashed", "raw"] as const
const times = { library: [], hashed: [], raw: [] } as Record<
  keyof typeof contestants,
  Array<Awaited<ReturnType<typeof measureTime>>>
>
try {
  for (let round = -5; round < rounds; round++) {
    for (const name of names) {
      const result = await measureTime(contestants[name])
      if (round >= 0) times[name].push(result)
    }
  }
  for (const name of names) {
    const of = (key: "milliseconds" | "cpu" | "delay") => median(times[name].map((result) => result[key])).toFixed(1)
    const peaks: Array<number> = []
    for (let round = 0; round < 5; round++) peaks.push(await measureMemory(contestants[name]))
    console.log(
      `${name}: ${of("milliseconds")} ms, ${of("cpu")} ms CPU, ${median(peaks).toFixed(1)} MiB, ${of("delay")} ms turn`
    )
  }
  const imports = Array.from({ length: 15 }, importTime)
  console.log(`import: ${Math.min(...imports).toFixed(1)} ms at best, ${median(imports).toFixed(1)} ms in the middle`)
} finally {
  await runtime.dispose()
  await ceph.stop()
  rmSync(directory, { recursive: true })
}
