/** Attacks by the content of requests: CPU and memory per byte, and many ids. */
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import { mkdirSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { concat, eoi, png, segment, soi } from "../../utils/images.js"
import type { Attack } from "./attack.js"
import {
  type Client,
  connect,
  connectMany,
  destroyAll,
  forEachPaced,
  head,
  pause,
  statusesOf,
  type Target,
  until
} from "./client.js"

const image = png()

const request = (method: string, path: string, type: string, body: Uint8Array | string, fields = {}): Buffer => {
  const bytes = Buffer.from(body)
  return Buffer.concat([
    Buffer.from(head(method, path, { "Content-Type": type, "Content-Length": String(bytes.length), ...fields })),
    bytes
  ])
}

const json = "application/json"

/** Sends a request on each client, and answers the statuses. */
const answers = async (clients: ReadonlyArray<Client>, requestOf: (i: number) => Buffer) => {
  await forEachPaced(clients, ({ socket }, i) => socket.write(requestOf(i)))
  await until(() => clients.every((client) => statusesOf(client).length > 0), "an answer")
  const statuses = clients.map((client) => statusesOf(client)[0])
  destroyAll(clients)
  return statuses
}

/** One request after another. */
const sequence = async (port: number, requests: ReadonlyArray<Buffer>): Promise<ReadonlyArray<string>> => {
  const statuses: Array<string> = []
  for (const bytes of requests) {
    const client = await connect(port)
    client.socket.write(bytes)
    await until(() => statusesOf(client).length > 0, "an answer")
    statuses.push(statusesOf(client)[0] ?? "")
    client.socket.destroy()
  }
  return statuses
}

const expectStatuses = (found: ReadonlyArray<string | undefined>, expected: ReadonlyArray<string>): void => {
  if (found.join() !== expected.join()) throw new Error(`answered ${found.join()}`)
}

/** An honest client that stores, reads and removes images until it is stopped; answers the number of rounds. */
const storeAndRead = async ({ port }: Target, id: string, isStopped: () => boolean): Promise<number> => {
  const url = `http://127.0.0.1:${port}/sessions/${id}/init-image`
  let rounds = 0
  while (!isStopped()) {
    const put = await fetch(url, { method: "PUT", body: image, headers: { "content-type": "image/png" } })
    const got = await fetch(url)
    const bytes = Buffer.from(await got.arrayBuffer())
    const deleted = await fetch(url, { method: "DELETE" })
    if (put.status !== 200 || !bytes.equals(image) || deleted.status !== 204) {
      throw new Error(`an honest client got ${put.status}, ${got.status}, ${deleted.status}`)
    }
    rounds += 1
    await pause(20)
  }
  return rounds
}

const hostileBatch = (upload: string, i: number): Buffer => {
  const session = `/sessions/hostile-${i % 50}/init-image`
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
    title: "1,000 sessions that are set and removed",
    referenceOnly: true,
    run: async ({ port }) => {
      const clients = await connectMany(port, 100)
      await forEachPaced(clients, ({ socket }, i) => {
        for (let k = 0; k < 5; k++) {
          const path = `/sessions/id-${i}-${k}/init-image`
          socket.write(request("PUT", path, "image/png", image))
          socket.write(head("DELETE", path))
        }
      })
      await until(() => clients.every((client) => statusesOf(client).length === 10), "all answers")
      destroyAll(clients)
      return 1000
    }
  },
  {
    title: "messages of nested arrays",
    referenceOnly: true,
    run: async ({ port, upload }) => {
      const clients = await connectMany(port, 20)
      const statuses = await answers(clients, (i) => {
        const filler = i % 2 === 0 ? "[],".repeat(20_000) : "[".repeat(60_000)
        return request("POST", upload, json, `{"a":[${filler}`)
      })
      expectStatuses([...new Set(statuses)], ["400"])
      return clients.length
    }
  },
  {
    title: "pictures of empty segments",
    referenceOnly: true,
    run: async ({ port, upload }) => {
      const clients = await connectMany(port, 4)
      const segments = Buffer.concat(Array.from({ length: 250_000 }, () => segment(0xfe)))
      const picture = concat(soi, segments, eoi)
      const body = request("POST", upload, "image/jpeg", picture)
      for (const { socket } of clients) {
        socket.write(body)
        await pause(1000)
      }
      await until(() => clients.every((client) => statusesOf(client).length > 0), "an answer")
      const statuses = clients.map((client) => statusesOf(client)[0])
      destroyAll(clients)
      expectStatuses([...new Set(statuses)], ["422"])
      return clients.length
    }
  },
  {
    title: "2,000 foreign directories beside the server's",
    referenceOnly: true,
    run: async ({ directory }) => {
      const names = Array.from(
        { length: 2000 },
        () => join(directory, `session-init-image-${randomBytes(16).toString("hex")}`)
      )
      for (const name of names) mkdirSync(name)
      // A sweep starts every 6 seconds.
      await pause(7000)
      for (const name of names) rmSync(name, { recursive: true, force: true })
      return names.length
    }
  },
  {
    title: "files that are removed behind the server's back",
    referenceOnly: true,
    run: async ({ directory, port }) => {
      const path = "/sessions/removed/init-image"
      const [put] = await sequence(port, [request("PUT", path, "image/png", image)])
      for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
        if (name.endsWith(".png")) rmSync(join(directory, name))
      }
      const rest = await sequence(port, [
        Buffer.from(head("GET", path)),
        request("PUT", path, "image/png", image),
        Buffer.from(head("GET", path)),
        Buffer.from(head("DELETE", path))
      ])
      expectStatuses([put, ...rest], ["200", "410", "200", "200", "204"])
      return 5
    }
  },
  {
    title: "pages of other sites, and refused uploads that wait for 100 Continue",
    referenceOnly: true,
    run: async ({ port, upload }) => {
      const clients = await connectMany(port, 200)
      const statuses = await answers(clients, (i) => {
        const fields: Record<string, string> = i % 2 === 0
          ? { "Sec-Fetch-Site": "cross-site" }
          : { Origin: "https://evil.example" }
        return Buffer.from(head("POST", upload, { "Expect": "100-continue", "Content-Length": "1000000", ...fields }))
      })
      expectStatuses([...new Set(statuses)], ["403"])
      return clients.length
    }
  },
  {
    title: "20,000 mixed hostile requests, with honest clients beside them",
    referenceOnly: true,
    run: async (target) => {
      let isStopped = false
      const honest = Promise.all(
        ["honest-1", "honest-2", "honest-3"].map((id) => storeAndRead(target, id, () => isStopped))
      )
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
      const cleanUp = Array.from(
        { length: 50 },
        (_, i) => Buffer.from(head("DELETE", `/sessions/hostile-${i}/init-image`))
      )
      await sequence(target.port, cleanUp)
      return batches * 10
    }
  }
]
