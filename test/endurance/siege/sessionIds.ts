/** Ids of sessions, which a client chooses. */
import { Buffer } from "node:buffer"
import { png } from "../../utils/images.js"
import { type Attack, volley } from "./attack.js"
import {
  connectMany,
  destroyAll,
  expectStatuses,
  forEachPaced,
  head,
  request,
  sequence,
  sessionPath,
  statusesOf,
  until,
  upgrade
} from "./client.js"

const image = png()

const hostile = [
  "..%2f..%2fetc%2fpasswd",
  "%2e%2e",
  "%00",
  "a%0d%0aX:b",
  "%ff",
  "%",
  "%f0%9f%98%80".repeat(200),
  "a".repeat(101),
  "a;b=c",
  "a%3fb"
]

const prototypes = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]

const queries = [
  `session_id=${"a".repeat(8000)}`,
  "session_id=a&session_id=b",
  "session_id[]=a",
  "session_id=%00%ff",
  "session_id=__proto__",
  "session_id=",
  "&&==&%",
  "session_id=..%2f.."
]

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "2,000 ids that no session has",
    count: 2000,
    request: (random) => head(random.pick(["GET", "HEAD"]), sessionPath(String(random.next()))),
    statuses: [404]
  }),
  volley({
    title: "ids with dots, slashes, controls and of 800 characters",
    request: (random, i) => head(i % 2 === 0 ? "GET" : "DELETE", sessionPath(random.pick(hostile))),
    statuses: [204, 400, 404]
  }),
  volley({
    title: "ids that are names of prototypes",
    request: (random) => head("GET", sessionPath(random.pick(prototypes))),
    statuses: [404]
  }),
  volley({
    title: "ids of sockets: long, twice, as a list, broken",
    request: (random, _, { stream }) => upgrade(`${stream}?${random.pick(queries)}`, "websocket"),
    statuses: [101]
  }),
  {
    title: "1,000 sessions that are set and removed",
    referenceOnly: true,
    run: async ({ port }) => {
      const clients = await connectMany(port, 100)
      await forEachPaced(clients, ({ socket }, i) => {
        for (let k = 0; k < 5; k++) {
          const path = sessionPath(`id-${i}-${k}`)
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
    title: "PUT, GET and DELETE of one id by 100 clients at once",
    referenceOnly: true,
    run: async ({ port }) => {
      const clients = await connectMany(port, 100)
      const path = sessionPath("contended")
      await forEachPaced(clients, ({ socket }, i) => {
        for (let k = 0; k < 4; k++) {
          socket.write(
            (i + k) % 3 === 0
              ? request("PUT", path, "image/png", image)
              : head((i + k) % 3 === 1 ? "GET" : "DELETE", path)
          )
        }
      })
      await until(() => clients.every((client) => statusesOf(client).length === 4), "all answers")
      const found = [...new Set(clients.flatMap(statusesOf))].toSorted()
      destroyAll(clients)
      if (found.some((status) => !["200", "204", "404"].includes(status))) throw new Error(`answered ${found.join()}`)
      expectStatuses(await sequence(port, [request("PUT", path, "image/png", image)]), ["200"])
      expectStatuses(await sequence(port, ["GET", "DELETE", "GET"].map((method) => Buffer.from(head(method, path)))), [
        "200",
        "204",
        "404"
      ])
      return 404
    }
  }
]
