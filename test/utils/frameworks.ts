/** The servers of the examples in `test/examples/frameworks` that run on Node, by the names of their files. */
import * as Http from "node:http"
import { listenerOf, type WebHandler } from "./webServer.js"

export const fromWeb = (handler: WebHandler): Http.Server => Http.createServer(listenerOf(handler))

export const frameworks: Readonly<Record<string, () => Promise<Http.Server>>> = {
  hono: async () => {
    const { app } = await import("../examples/frameworks/hono.js")
    return fromWeb(async (request) => app.fetch(request))
  },
  next: async () => fromWeb((await import("../examples/frameworks/next.js")).POST),
  express: async () => Http.createServer((await import("../examples/frameworks/express.js")).app),
  fastify: async () => {
    const { app } = await import("../examples/frameworks/fastify.js")
    await app.ready()
    return app.server
  },
  nodeHttp: async () => (await import("../examples/frameworks/nodeHttp.js")).server,
  service: async () => fromWeb((await import("../examples/frameworks/service.js")).handler)
}
