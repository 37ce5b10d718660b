/** The HTTP client of the measured servers. */
import * as http from "node:http"
import { makeFrame, parse } from "./frame.js"
import type { Server } from "./servers.js"

/** Sends a request and resolves at the end of the answer; rejects unless its status is 200. */
export type Send = (method: string, path: string, type?: string, body?: Uint8Array) => Promise<void>

export const makeClient = ({ name, port }: Server): { readonly send: Send; readonly close: () => void } => {
  const agent = new http.Agent({ keepAlive: true })
  const send: Send = (method, path, type, body) =>
    new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { "content-type": type, "content-length": body.length }
      const request = http.request({ agent, host: "127.0.0.1", port, method, path, headers }, (response) => {
        response.resume()
        response.once("error", reject)
        response.once("end", () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`${name} answered ${response.statusCode}`)))
      })
      request.once("error", reject)
      request.end(body)
    })
  return { send, close: () => agent.destroy() }
}

/** Builds the JSON of a PNG: the payload alone, without a frame around it. */
export const makeBody = (size: number): Buffer => Buffer.from(JSON.stringify(parse(makeFrame("png", size).toString())))

export const postJson = (send: Send, body: Uint8Array): Promise<void> =>
  send("POST", "/v1/init-image", "application/json", body)
