/**
 * The OpenAPI description of the routes beside the API: `routes.ts`, `metrics.ts`, the page, and the document itself.
 */
import { maxSessionIdLength } from "../internal/http/sessions.js"

/** The endpoint whose bodies and errors `POST /v1/init-image` shares. */
const put = "/sessions/{sessionId}/init-image"

interface Operation {
  readonly parameters: ReadonlyArray<{ readonly in: string }>
  readonly responses: { readonly [status: string]: object }
}

interface Document {
  readonly paths: { readonly [path: string]: { readonly put?: Operation } }
  readonly tags: ReadonlyArray<object>
}

const tag = "Server"

const text = (description: string, type: string, schema: object = { type: "string" }) => ({
  description,
  content: { [type]: { schema } }
})

const forbidden = { description: "The request comes from a page of another origin, or is for another host name" }

const post = ({ parameters, responses: { 204: _removed, ...responses }, ...operation }: Operation) => ({
  ...operation,
  tags: ["Init images"],
  operationId: "initImage.describe",
  summary: "Describe an image, and keep nothing",
  parameters: parameters.filter(({ in: place }) => place !== "path"),
  responses: {
    ...responses,
    200: text("A verified image, or `null` for a body that is `null`", "application/json", {
      anyOf: [{ $ref: "#/components/schemas/InitImageDescription" }, { type: "null" }]
    }),
    403: forbidden
  }
})

const stream = {
  tags: ["Init images"],
  operationId: "initImage.stream",
  summary: "Open a session over a WebSocket",
  description: [
    "Upgrades to a WebSocket (RFC 6455); this page cannot send it. Messages are JSON:",
    "",
    "- `{\"type\":\"session_init_v2\",\"initial_image\":{\"mime\":\"image/png\",\"name\":\"ref.png\",\"data\":\"<base64>\"}}` from the"
    + " client opens the session. The server answers with `{\"type\":\"session_init_image\",\"image\":{…}}`, or with"
    + " `{\"type\":\"error\",\"code\":…,\"message\":…,\"retryable\":…}` and close code 1003, for `busy` 1013.",
    "- `{\"type\":\"init_image_updated\",\"initial_image\":…}` replaces the image, or removes it with `null`. After an error the"
    + " session keeps its image.",
    "- An image with `bytes`, its size, in place of `data` follows in binary frames of at most 1 MiB. The server reports"
    + " `{\"type\":\"init_image_progress\",\"received\":…,\"bytes\":…}`.",
    "- `{\"type\":\"ping\"}` is answered with `{\"type\":\"pong\"}`.",
    "",
    "The image is removed when the socket closes."
  ].join("\n"),
  parameters: [{
    name: "session_id",
    in: "query",
    required: false,
    schema: { type: "string", minLength: 1, maxLength: maxSessionIdLength },
    description: `The id under which \`${put}\` reads the session's image while it is open; a random one by default`
  }],
  responses: {
    101: { description: "The session is open" },
    403: forbidden,
    426: { description: "The request is not a valid WebSocket handshake" }
  }
}

/** A route that only answers with this. */
const get = (operationId: string, summary: string, ok: ReturnType<typeof text>) => ({
  get: { tags: [tag], operationId, summary, responses: { 200: ok } }
})

const webPage = text("A web page", "text/html")

const health = text("The server runs", "application/json", {
  type: "object",
  required: ["status"],
  properties: { status: { type: "string", enum: ["ok"] } }
})

const openApi = text("An OpenAPI 3.1 document", "application/json", { type: "object" })

const metrics = text("The text format of Prometheus", "text/plain")

/** Adds the routes to the document of the API. */
export const addRoutes = (spec: Record<string, unknown>): Record<string, unknown> => {
  // The platform types a document as a record. The group has given it the endpoint.
  const { paths, tags } = spec as unknown as Document
  const shared = paths[put]?.put
  if (shared === undefined) throw new Error(`the document lacks ${put}`)
  return {
    ...spec,
    tags: [...tags, { name: tag }],
    paths: {
      "/v1/init-image": { post: post(shared) },
      "/v1/stream": { get: stream },
      ...paths,
      "/": get("server.page", "Open the page that sends images", webPage),
      "/healthz": get("server.health", "Tell that the server runs", health),
      "/metrics": get("server.metrics", "Read the metrics of the process", metrics),
      "/docs": get("server.docs", "Read this document as a web page", webPage),
      "/openapi.json": get("server.document", "Read this document", openApi)
    }
  }
}
