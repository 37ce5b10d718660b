/**
 * The parts of `InitImageApi`'s OpenAPI document that the platform does not derive from the schemas.
 */
import * as OpenApi from "@effect/platform/OpenApi"

/** The default limits, as the document of the group states them. */
export const defaultLimits = "By default at most 32 MiB (33,554,432 bytes) and 89,478,485 pixels"

/** The length of the base64 text of an image of this many bytes. */
export const base64Length = (bytes: number): number => 4 * Math.ceil(bytes / 3)

interface Document {
  readonly components: { readonly schemas: { readonly [identifier: string]: object } }
}

interface PayloadSchema {
  readonly properties: { readonly data: object }
}

/** Replaces the default limits in a document that has the group. */
export const withLimits = (document: unknown, maxBytes: number, maxPixels: number): Record<string, unknown> => {
  const pixels = maxPixels === Infinity ? "" : ` and ${maxPixels.toLocaleString("en")} pixels`
  const limits = `At most ${maxBytes.toLocaleString("en")} bytes${pixels}`
  // A document is JSON. The group has given it the schema of the payload.
  const limited: Document = JSON.parse(JSON.stringify(document).replaceAll(defaultLimits, limits))
  const payload = limited.components.schemas["InitImagePayload"] as PayloadSchema
  Object.assign(payload.properties.data, { maxLength: base64Length(maxBytes) })
  return { ...limited }
}

interface Operation {
  readonly parameters: ReadonlyArray<unknown>
  readonly responses: { readonly [status: number]: object }
}

/** The JSON schema of a binary body. */
export const binary = (description?: string) => ({
  type: "string",
  format: "binary",
  ...description === undefined ? {} : { description }
})

const transform = (change: (operation: Operation) => object) =>
  OpenApi.annotations({
    // The platform types an operation as a record of `any`.
    transform: (operation) => ({ ...operation, ...change(operation as Operation) })
  })

/** Adds the `name` query parameter, and the `Retry-After` header of a 503. */
export const put = transform(({ parameters, responses }) => ({
  parameters: [...parameters, {
    name: "name",
    in: "query",
    required: false,
    schema: { type: "string" },
    description: "The client's name for the file, if the body is the image itself"
  }],
  responses: {
    ...responses,
    503: {
      ...responses[503],
      headers: {
        "Retry-After": {
          description: "Seconds to wait before the next attempt",
          schema: { type: "integer", minimum: 1 }
        }
      }
    }
  }
}))

/** Lists the content types of a 200. */
export const get = (mimes: ReadonlyArray<string>) =>
  transform(({ responses }) => ({
    responses: {
      ...responses,
      200: {
        ...responses[200],
        description: "The image",
        content: Object.fromEntries(mimes.map((mime) => [mime, { schema: binary() }]))
      }
    }
  }))
