/** The clients that send as fast as they can, in a process of their own; and what became of their requests. */
import { once } from "node:events"
import * as net from "node:net"
import { makeFrame, makeImage, parse } from "./frame.js"
import * as plan from "./loadPlan.js"

/** What became of all requests together. */
export interface Tally {
  images: number
  busy: number
  dropped: number
  /** Anything else, with how often. */
  readonly wrong: Record<string, number>
  /** Requests that the server took no byte of for so long that their writing stood still. */
  stalled: number
  /** The longest that one has stood still, in milliseconds. */
  longestStall: number
}

const piece = 64 * 1024

/** In milliseconds. */
const stall = 100

const image = makeImage("jpeg", plan.imageBytes)
const bodies = [
  { type: "image/jpeg", bytes: Buffer.from(image) },
  // The server takes the payload alone, not a frame around it.
  { type: "application/json", bytes: Buffer.from(JSON.stringify(parse(makeFrame("png", plan.imageBytes).toString()))) }
]

interface Request {
  readonly port: number
  /** Which of the bodies. */
  readonly kind: number
  /** How much of it is sent before the connection is dropped; all of it, and an answer awaited, where undefined. */
  readonly drop?: number | undefined
  /** Called in the middle of the body, which goes on once it has ended. */
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
  /** Until the system has taken it. */
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
  if (longest > stall) tally.stalled++
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

/** Half of each client's connections are dropped, at any moment; half of all bodies are JSON. */
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

/** Tells whoever has started this process, and waits for an answer. */
const report = async (what: string): Promise<void> => {
  const answered = once(process, "message")
  process.send?.(what)
  await answered
}

/** As many clients as hold all there is stop in the middle, and send on only when all others wait. */
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
// The process that starts this one passes a `Task`.
process.send?.(await tasks[task as Task](Number(port)), () => process.disconnect())
