/** Hostile requests of all kinds, with honest clients beside them. */
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import { png, pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { encodeFrame } from "../../utils/webSocketClient.js"
import { type Attack, connectSockets, hasReceived } from "./attack.js"
import {
  connectMany,
  destroyAll,
  head,
  pause,
  request,
  sequence,
  sessionPath,
  statusesOf,
  type Target,
  until
} from "./client.js"

const image = png()
const picture = pngOfSize(300_000)
const json = "application/json"

/** Repeats a round of an honest client until it is stopped. */
const repeat = async (isStopped: () => boolean, round: () => Promise<void>): Promise<number> => {
  let rounds = 0
  for (; !isStopped(); rounds++) {
    await round()
    await pause(20)
  }
  return rounds
}

/** An honest client that stores, reads and removes an image. */
const storesAndReads = ({ port }: Target, id: string) => async () => {
  const url = `http://127.0.0.1:${port}${sessionPath(id)}`
  const put = await fetch(url, { method: "PUT", body: image, headers: { "content-type": "image/png" } })
  const got = await fetch(url)
  const bytes = Buffer.from(await got.arrayBuffer())
  const deleted = await fetch(url, { method: "DELETE" })
  if (put.status !== 200 || !bytes.equals(image) || deleted.status !== 204) {
    throw new Error(`an honest client got ${put.status}, ${got.status}, ${deleted.status}`)
  }
}

/** An honest client that uploads a picture of 300 KB. */
const uploads = ({ port, upload }: Target) => async () => {
  const url = `http://127.0.0.1:${port}${upload}`
  const response = await fetch(url, { method: "POST", body: picture, headers: { "content-type": "image/png" } })
  const text = await response.text()
  if (response.status !== 200 || !text.includes(`"bytes":${picture.length}`)) {
    throw new Error(`an honest upload got ${response.status}`)
  }
}

/** An honest client that opens a session, replaces its image and reads it back. */
const holdsSession = (target: Target, id: string) => async () => {
  const first = encodeFrame(JSON.stringify({ type: "session_init_v2", initial_image: payloadOf("image/png", image) }))
  const next = JSON.stringify({ type: "init_image_updated", initial_image: payloadOf("image/png", picture) })
  const clients = await connectSockets({ ...target, stream: `${target.stream}?session_id=${id}` }, 1, first)
  await until(() => clients.every(hasReceived(`"bytes":${image.length},`)), "the answer to an honest opening")
  for (const { socket } of clients) socket.write(encodeFrame(next))
  await until(() => clients.every(hasReceived(`"bytes":${picture.length},`)), "the answer to an honest update")
  const got = await fetch(`http://127.0.0.1:${target.port}${sessionPath(id)}`)
  const bytes = Buffer.from(await got.arrayBuffer())
  destroyAll(clients)
  if (!bytes.equals(picture)) throw new Error(`an honest session's image was answered with ${got.status}`)
}

const hostileIds = Array.from({ length: 50 }, (_, i) => `hostile-${i}`)

/** Ten requests of as many kinds, pipelined. */
const hostileBatch = (upload: string, i: number): Buffer => {
  const session = sessionPath(hostileIds[i % hostileIds.length] ?? "")
  const junk = randomBytes(i % 200)
  const kinds = [
    request("POST", upload, "image/png", junk),
    request("POST", upload, json, junk),
    request("POST", upload, "multipart/form-data; boundary=a", junk),
    request("PUT", session, "image/png", image),
    request("PUT", session, "image/jpeg", image, { "Sec-Fetch-Site": "cross-site" }),
    request("DELETE", session, json, ""),
    Buffer.from(head("GET", session)),
    Buffer.from(head("HEAD", "/docs")),
    Buffer.from(head("GET", `/${junk.toString("hex")}`)),
    request("POST", upload, "image/png", image, { Origin: "https://evil.example" })
  ]
  return Buffer.concat(kinds.map((_, k) => kinds[(k + i) % kinds.length] ?? Buffer.alloc(0)))
}

export const attacks: ReadonlyArray<Attack> = [
  {
    title: "20,000 mixed hostile requests, with honest clients beside them",
    referenceOnly: true,
    run: async (target) => {
      let isStopped = false
      const clients = [
        storesAndReads(target, "honest-1"),
        storesAndReads(target, "honest-2"),
        uploads(target),
        holdsSession(target, "honest-3"),
        holdsSession(target, "honest-4")
      ]
      const honest = Promise.all(clients.map((round) => repeat(() => isStopped, round)))
      // Rejections are reported below; the attack goes on.
      honest.catch(() => {})
      const batches = 2000
      for (let i = 0; i < batches; i += 20) {
        const clients = await connectMany(target.port, 20)
        for (const [k, client] of clients.entries()) {
          client.socket.write(hostileBatch(target.upload, i + k))
          // Some leave in the middle.
          if (k % 4 === 0) setTimeout(() => client.socket.resetAndDestroy(), 20)
        }
        await Promise.all(
          clients.map((client) =>
            Promise.race([
              client.closed,
              until(() => statusesOf(client).length >= 10, "all answers").catch(() => {}),
              pause(2000)
            ])
          )
        )
        destroyAll(clients)
      }
      isStopped = true
      const rounds = await honest
      if (rounds.some((count) => count < 10)) throw new Error(`honest clients had ${rounds.join()} rounds`)
      await sequence(target.port, hostileIds.map((id) => Buffer.from(head("DELETE", sessionPath(id)))))
      return batches * 10
    }
  }
]
