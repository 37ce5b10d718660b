/** Disks that are full or read-only, and files that others change or leave. */
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { png, pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { remount } from "../../utils/tmpfs.js"
import { encodeFrame } from "../../utils/webSocketClient.js"
import { type Attack, connectSockets, hasReceived } from "./attack.js"
import {
  connectMany,
  destroyAll,
  expectStatuses,
  head,
  isAnswered,
  pause,
  post,
  request,
  sequence,
  sessionPath,
  statusesOf,
  type Target,
  until
} from "./client.js"

const image = png()

/** A sweep and a beat start every 6 seconds. */
const sweepTime = 7000

const put = (id: string, body: Uint8Array = image): Buffer => request("PUT", sessionPath(id), "image/png", body)
const get = (id: string): Buffer => Buffer.from(head("GET", sessionPath(id)))
const remove = (id: string): Buffer => Buffer.from(head("DELETE", sessionPath(id)))

/** The directory of the server's spool. */
const spoolOf = ({ directory }: Target): string => {
  const name = readdirSync(directory).find((name) => readdirSync(join(directory, name)).includes("heartbeat"))
  if (name === undefined) throw new Error("the server has no spool")
  return join(directory, name)
}

export const attacks: ReadonlyArray<Attack> = [
  {
    title: "2,000 foreign directories beside the server's, and a heartbeat that is a link",
    referenceOnly: true,
    run: async (target) => {
      const { directory } = target
      const names = Array.from(
        { length: 2000 },
        () => join(directory, `session-init-image-${randomBytes(16).toString("hex")}`)
      )
      const heartbeat = join(spoolOf(target), "heartbeat")
      const other = join(directory, "other")
      for (const name of names) mkdirSync(name)
      writeFileSync(other, "of another program")
      rmSync(heartbeat)
      symlinkSync(other, heartbeat)
      await pause(sweepTime)
      const content = readFileSync(other, "utf8")
      for (const name of [...names, other]) rmSync(name, { recursive: true, force: true })
      if (content !== "of another program") throw new Error("the heartbeat was written through a link")
      return names.length + 1
    }
  },
  {
    title: "images that are removed behind the server's back",
    referenceOnly: true,
    run: async (target) => {
      const [first] = await sequence(target.port, [put("removed")])
      const spool = spoolOf(target)
      for (const name of readdirSync(spool)) if (name.endsWith(".png")) rmSync(join(spool, name))
      const rest = await sequence(target.port, [get("removed"), put("removed"), get("removed"), remove("removed")])
      expectStatuses([first, ...rest], ["200", "410", "200", "200", "204"])
      return 5
    }
  },
  {
    title: "a spool that is removed, and one that is replaced by a link",
    referenceOnly: true,
    run: async (target) => {
      const { directory, port } = target
      const [first] = await sequence(port, [put("spool")])
      rmSync(spoolOf(target), { recursive: true })
      const second = await sequence(port, [get("spool"), put("spool"), get("spool")])
      expectStatuses([first, ...second], ["200", "410", "200", "200"])
      const spool = spoolOf(target)
      const other = join(directory, "moved")
      renameSync(spool, other)
      mkdirSync(join(directory, "elsewhere"))
      symlinkSync(join(directory, "elsewhere"), spool)
      const third = await sequence(port, [put("linked")])
      const written = readdirSync(join(directory, "elsewhere"))
      rmSync(spool)
      rmSync(join(directory, "elsewhere"), { recursive: true })
      renameSync(other, spool)
      expectStatuses(third, ["500"])
      if (written.length > 0) throw new Error("an image was written through a link")
      expectStatuses(await sequence(port, [put("spool"), remove("spool")]), ["200", "204"])
      return 7
    }
  }
]

/** In bytes. */
export const diskSize = 4 * 1024 * 1024

/** Against a server whose directory is a disk of `diskSize`. */
export const smallDiskAttacks: ReadonlyArray<Attack> = [
  {
    title: "uploads that are larger than the disk",
    run: async (target) => {
      const clients = await connectMany(target.port, 16)
      const body = post(target, pngOfSize(6_000_000))
      for (const { socket } of clients) socket.write(body)
      await until(() => clients.every(isAnswered), "an answer", 60_000)
      const found = [...new Set(clients.flatMap(statusesOf))].join()
      destroyAll(clients)
      if (found !== "500") throw new Error(`answered ${found}`)
      expectStatuses(await sequence(target.port, [post(target, image)]), ["200"])
      return clients.length + 1
    }
  },
  {
    title: "sessions until the disk is full",
    run: async ({ port }) => {
      const ids = Array.from({ length: 60 }, (_, i) => `full-${i}`)
      const body = pngOfSize(200_000)
      const stored = await sequence(port, ids.map((id) => put(id, body)))
      const found = [...new Set(stored)].toSorted().join()
      const held = await sequence(port, ids.filter((_, i) => stored[i] === "200").map(get))
      const removed = await sequence(port, ids.map(remove))
      if (found !== "200,500") throw new Error(`answered ${found}`)
      if (held.some((status) => status !== "200")) throw new Error("an image that was stored is gone")
      expectStatuses([...new Set(removed)], ["204"])
      expectStatuses(await sequence(port, [put("after", body), remove("after")]), ["200", "204"])
      return 4 * ids.length
    }
  },
  {
    title: "images of WebSockets on a full disk",
    run: async (target) => {
      const filler = join(target.directory, "filler")
      try {
        writeFileSync(filler, Buffer.alloc(diskSize))
      } catch {
        // Full, as it is meant to be.
      }
      const first = encodeFrame(
        JSON.stringify({ type: "session_init_v2", initial_image: payloadOf("image/png", pngOfSize(20_000)) })
      )
      const clients = await connectSockets(target, 20, first)
      await until(() => clients.every(hasReceived("internal_error")), "a refusal")
      destroyAll(clients)
      rmSync(filler)
      return clients.length
    }
  },
  {
    title: "a disk that becomes read-only and comes back",
    run: async (target) => {
      const { directory, port } = target
      const before = await sequence(port, [put("read-only"), put("kept")])
      remount(directory, "ro")
      const meanwhile = await sequence(port, [put("read-only"), get("kept"), post(target, image), remove("read-only")])
      remount(directory, "rw")
      expectStatuses([...before, ...meanwhile], ["200", "200", "500", "200", "500", "204"])
      expectStatuses(await sequence(port, [put("read-only"), remove("read-only"), remove("kept")]), [
        "200",
        "204",
        "204"
      ])
      return 9
    }
  }
]
