/** A Ceph object store for the tests of one file, started by `ceph.sh` and ended with its standard input. */
import { AwsClient } from "aws4fetch"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as Net from "node:net"
import { join } from "node:path"

/** The programs that it needs. */
export const programs = ["radosgw", "ceph-mon", "ceph-osd"] as const

export interface Ceph {
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly stop: () => Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = Net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  if (typeof address !== "object" || address === null) throw new Error("no port")
  return address.port
}

/** The variables that the script prints before "ready". */
const readEnvironment = async (child: ChildProcess): Promise<Readonly<Record<string, string>>> => {
  let output = ""
  let errors = ""
  child.stderr?.on("data", (data: Buffer) => {
    errors += data.toString()
  })
  for await (const data of child.stdout ?? []) {
    output += String(data)
    if (output.includes("ready\n")) {
      return Object.fromEntries(output.split("\n").map((line) => line.split("=", 2) as [string, string]))
    }
  }
  throw new Error(`Ceph did not start: ${errors}`)
}

/** Takes 3 to 10 seconds. */
export const start = async (script = join(import.meta.dirname, "ceph.sh")): Promise<Ceph> => {
  const child = spawn(script, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, S3_PORT: String(await freePort()), MON_PORT: String(await freePort()) }
  })
  const ended = once(child, "exit")
  const stop = async () => {
    child.stdin.end()
    await ended
  }
  const environment = await readEnvironment(child)
  const get = (name: string): string => environment[name] ?? ""
  return {
    endpoint: get("AWS_ENDPOINT_URL_S3"),
    bucket: get("INIT_IMAGE_BUCKET"),
    region: get("AWS_REGION"),
    accessKeyId: get("AWS_ACCESS_KEY_ID"),
    secretAccessKey: get("AWS_SECRET_ACCESS_KEY"),
    stop
  }
}

/** Looks at a bucket, and changes what is in it, past the library. */
export const makeInspector = ({ accessKeyId, bucket, endpoint, region, secretAccessKey }: Ceph) => {
  const client = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3", retries: 0 })
  const request = async (method: string, path: string, init: RequestInit = {}): Promise<Response> => {
    const response = await client.fetch(`${endpoint}/${bucket}${path}`, { method, ...init })
    if (!response.ok) throw new Error(`${method} answered ${response.status}`)
    return response
  }
  const keysIn = async (query: string): Promise<ReadonlyArray<string>> =>
    Array.from((await (await request("GET", query)).text()).matchAll(/<Key>([^<]*)<\/Key>/g), ([, key = ""]) => key)
  return {
    keys: () => keysIn(""),
    /** The multipart uploads that have not ended. */
    uploads: () => keysIn("?uploads"),
    read: async (key: string) => {
      const response = await request("GET", `/${key}`)
      return { bytes: new Uint8Array(await response.arrayBuffer()), headers: response.headers }
    },
    write: async (key: string, bytes: Uint8Array<ArrayBuffer>) => {
      await (await request("PUT", `/${key}`, { body: bytes })).arrayBuffer()
    },
    clear: async () => {
      for (const key of await keysIn("")) await request("DELETE", `/${key}`)
    }
  }
}
