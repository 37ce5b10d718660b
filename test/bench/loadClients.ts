/** Runs the clients of `npm run load` in a separate process and counts the outcomes of their requests. */
import { once } from "node:events"
import * as net from "node:net"
import { makeFrame, makeImage, parse } from "./frame.js"
import * as plan from "./loadPlan.js"

/** The outcomes of all requests. */
export interface Tally {
  images: number
  busy: number
  dropped: number
  /** Other answers and failures, with their counts. */
  readonly wrong: Record<string, number>
  /** Requests with a write that took longer than `stallThreshold`. */
  stalled: number
  /** The longest write, in milliseconds. */
  longestStall: number
}

const piece = 64 * 1024

/** A write of this duration is a stall, in milliseconds. */
const stallThreshold = 100

const image = makeImage("jpeg", plan.imageBytes)
const bodies = [
  { type: "image/jpeg", bytes: Buffer.from(image) },
  // The server takes the payload without a frame around it.
  { type: "application/json", bytes: Buffer.from(JSON.stringify(parse(makeFrame("png", plan.imageBytes).toString()))) }
]

interface Request {
  readonly port: number
  /** The index of the body. */
  readonly kind: number
  /** The fraction of the body after which the connection is dropped. `undefined` sends all of it and awaits the answer. */
  readonly drop?: number | undefined
  /** Awaited in the middle of the body. */
  readonly pause?: () => Promise<unknown>
}

const expectedAnswer = (answer: string): "images" | "busy" | undefined => {
  if (answer.startsWith("HTTP/1.1 200 ") && answer.includes(`"bytes":${plan.imageBytes}`)) return "images"
  return answer.startsWith("HTTP/1.1 503 ") && /^retry-after: \d+\r$/im.test(answer) ? "busy" : undefined
}

const send = async ({ drop, kind, pause, port }: Request, tally: Tally): Promise<void> => {
  const body = bodies[kind % bodies.length]
  if (body === undefined) throw new Error("no body")
  const socket = net.connect(port, "127.0.0.1")
  let answer = ""
  let failure = "no answer"
  socket.on("data", (chunk) => {
    answer += chunk.toString("latin1")
  })
  socket.on("error", (error) => {
    failure = error.message
  })
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
  let longest = 0
  /** Resolves when the system has taken the data. */
  const write = async (data: Uint8Array | string) => {
    const start = performance.now()
    await Promise.race([new Promise((resolve) => socket.write(data, resolve)), closed])
    longest = Math.max(longest, performance.now() - start)
  }

  await write(
    `POST /v1/init-image HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: ${body.type}\r\n`
      + `Content-Length: ${body.bytes.length}\r\n\r\n`
  )
  const end = Math.floor(body.bytes.length * (drop ?? 1))
  const middle = pause === undefined ? 0 : Math.floor(end / 2)
  for (let at = 0; at < end && !socket.destroyed; at += piece) {
    if (pause !== undefined && at <= middle && middle < at + piece) await pause()
    await write(body.bytes.subarray(at, Math.min(at + piece, end)))
  }
  if (longest > stallThreshold) tally.stalled++
  tally.longestStall = Math.max(tally.longestStall, longest)
  if (drop !== undefined) {
    socket.resetAndDestroy()
    tally.dropped++
    return
  }
  await closed
  const outcome = expectedAnswer(answer)
  if (outcome !== undefined) tally[outcome]++
  else {
    const wrong = answer.split("\r\n", 1)[0] ?? ""
    tally.wrong[wrong || failure] = (tally.wrong[wrong || failure] ?? 0) + 1
  }
}

const emptyTally = (): Tally => ({ images: 0, busy: 0, dropped: 0, wrong: {}, stalled: 0, longestStall: 0 })

/** Each client drops half of its connections, at a random point of the body; half of all bodies are JSON. */
const storm = async (port: number): Promise<Tally> => {
  const tally = emptyTally()
  await Promise.all(Array.from({ length: plan.clients }, async (_, client) => {
    for (let round = 0; round < plan.rounds; round++) {
      const drop = (client + round) % 2 === 0 ? undefined : 0.02 + 0.96 * Math.random()
      await send({ port, kind: client >> 1, drop }, tally)
    }
  }))
  return tally
}

/** Sends a report to the parent process and waits for its answer. */
const report = async (what: string): Promise<void> => {
  const answered = once(process, "message")
  process.send?.(what)
  await answered
}

/** Enough clients to fill the bytes in flight pause in the middle of their bodies until all other clients wait. */
const hold = async (port: number): Promise<Tally> => {
  const tally = emptyTally()
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const halves: Array<Promise<void>> = []
  const holders = Array.from({ length: plan.holders }, () => {
    let arrive = () => {}
    halves.push(
      new Promise((resolve) => {
        arrive = resolve
      })
    )
    const pause = () => {
      arrive()
      return released
    }
    return send({ port, kind: 0, pause }, tally)
  })
  await Promise.all(halves)
  await report("held")
  const others = Array.from(
    { length: plan.clients - plan.holders },
    (_, client) => send({ port, kind: client }, tally)
  )
  await report("waiting")
  release()
  await Promise.all([...holders, ...others])
  return tally
}

const tasks = { storm, hold }
export type Task = keyof typeof tasks

const [, , task, port] = process.argv
// `load.ts` passes a `Task`.
process.send?.(await tasks[task as Task](Number(port)), () => process.disconnect())
