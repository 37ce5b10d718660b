/** Uploads that do not end as they began. */
import { Buffer } from "node:buffer"
import { png, pngOfSize } from "../../utils/images.js"
import { type Attack, volley } from "./attack.js"
import {
  connectMany,
  destroyAll,
  head,
  pause,
  post,
  request,
  sequence,
  sessionPath,
  statusesOf,
  until
} from "./client.js"

const image = png()
const large = pngOfSize(200_000)

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "uploads that are reset anywhere",
    everywhere: true,
    ending: "reset",
    request: (random, _, target) => {
      const all = post(target, large)
      return all.subarray(0, random.below(all.length)).subarray(0, 20_000)
    },
    statuses: [200, 400, 413, 415, 422, "none"]
  }),
  volley({
    title: "uploads whose client closes its side in the middle",
    everywhere: true,
    ending: "end",
    request: (random, _, target) => post(target, large).subarray(0, 1 + random.below(10_000)),
    statuses: [400, 408, "none"]
  }),
  volley({
    title: "uploads that go on behind their refusal",
    count: 20,
    everywhere: true,
    request: (_, __, target) => post(target, Buffer.alloc(100_000, "x")),
    statuses: [415]
  }),
  {
    title: "sessions that are set by clients that leave before the answer",
    referenceOnly: true,
    run: async ({ port }) => {
      const clients = await connectMany(port, 100)
      for (const [i, { socket }] of clients.entries()) {
        socket.write(request("PUT", sessionPath(`left-${i}`), "image/png", image), () => {
          setTimeout(() => socket.resetAndDestroy(), i % 10)
        })
      }
      await Promise.all(clients.map(({ closed }) => closed))
      await pause(300)
      await sequence(port, clients.map((_, i) => Buffer.from(head("DELETE", sessionPath(`left-${i}`)))))
      return clients.length * 2
    }
  },
  {
    title: "64 uploads of 1 MB at once",
    run: async (target) => {
      const body = post(target, pngOfSize(1_000_000))
      const clients = await connectMany(target.port, 64)
      for (const { socket } of clients) socket.write(body)
      await until(() => clients.every((client) => statusesOf(client).length > 0), "an answer", 60_000)
      const found = [...new Set(clients.flatMap(statusesOf))].join()
      destroyAll(clients)
      if (found !== "200") throw new Error(`answered ${found}`)
      return clients.length
    }
  }
]
