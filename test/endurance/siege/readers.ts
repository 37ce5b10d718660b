/** Clients that read their answers late, in part, or never. */
import { Buffer } from "node:buffer"
import { pngOfSize } from "../../utils/images.js"
import { type Attack, volley } from "./attack.js"
import {
  connectMany,
  destroyAll,
  expectStatuses,
  forEachPaced,
  head,
  pause,
  request,
  sequence,
  sessionPath
} from "./client.js"

const large = pngOfSize(3_000_000)
const path = sessionPath("read")

/** Reads an image that exists meanwhile. */
const besideImage = async (port: number, read: () => Promise<number>): Promise<number> => {
  expectStatuses(await sequence(port, [request("PUT", path, "image/png", large)]), ["200"])
  const count = await read()
  expectStatuses(await sequence(port, [Buffer.from(head("DELETE", path))]), ["204"])
  return count + 2
}

export const attacks: ReadonlyArray<Attack> = [
  {
    title: "readers that leave in the middle of an image",
    referenceOnly: true,
    run: ({ port }) =>
      besideImage(port, async () => {
        const clients = await connectMany(port, 60)
        await forEachPaced(clients, ({ socket }, i) => {
          socket.pause()
          socket.write(head("GET", path), () => setTimeout(() => socket.resetAndDestroy(), i % 50))
        })
        await Promise.all(clients.map(({ closed }) => closed))
        return clients.length
      })
  },
  {
    title: "readers of an image that is removed meanwhile",
    referenceOnly: true,
    run: async ({ port }) => {
      const clients = await connectMany(port, 20)
      const count = await besideImage(port, async () => {
        for (const { socket } of clients) socket.pause().write(head("GET", path))
        await pause(200)
        return clients.length
      })
      for (const { socket } of clients) socket.resume()
      const deadline = Date.now() + 20_000
      while (clients.some(({ socket }) => socket.bytesRead < large.length)) {
        if (Date.now() > deadline) throw new Error("an answer that had begun was cut")
        await pause(20)
      }
      destroyAll(clients)
      return count
    }
  },
  volley({
    title: "500 requests for headers alone, and answers that nobody waits for",
    count: 500,
    ending: "reset",
    request: (random) =>
      head(random.pick(["HEAD", "GET"]), random.pick(["/", "/docs", "/openapi.json", "/metrics", "/healthz"])),
    statuses: [200, 404, "none"]
  })
]
