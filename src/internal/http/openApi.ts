/**
 * The parts of `InitImageApi`'s OpenAPI document that the platform does not derive from the schemas.
 */
import * as OpenApi from "@effect/platform/OpenApi"

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
