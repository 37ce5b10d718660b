/**
 * Errors as a server sends them: the encoded fields, and the message beside them.
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** Encodes errors with their messages. Throws for an error of another class. */
export const encoder = <A extends Error, I extends object>(
  schema: Schema.Schema<A, I>
): (error: A) => I & { readonly message: string } => {
  const encode = Schema.encodeSync(schema)
  return (error) => ({ ...encode(error), message: error.message })
}

/** Encodes an error and its message as a JSON response with the status of its schema's annotation. */
export const respond = <A extends Error, I extends object>(
  schema: Schema.Schema<A, I>,
  error: A
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.sync(() =>
    HttpServerResponse.unsafeJson(encoder(schema)(error), { status: HttpApiSchema.getStatusError(schema) })
  )

const Message = Schema.Struct({
  message: Schema.String.annotations({ description: "The reason, fit to show a person" })
})

/**
 * The schema of an error whose encoded form has the message; a decoded error computes it from its fields.
 *
 * Its identifier and `description` are for an OpenAPI document, in which the schemas of the whole API share one namespace.
 * Names may not contain `/` (OpenAPI 3.1 section 4.8.7), as the identifiers of the classes do.
 */
export const withMessage = <A extends Error, I extends object>(
  schema: Schema.Schema<A, I> & { readonly _tag: string },
  description?: string
): Schema.Schema<A, I & { readonly message: string }> => {
  const annotations = {
    identifier: `InitImage${schema._tag}`,
    ...description === undefined ? {} : { description }
  }
  // The document takes a response's description from the transformation, and the rest from its encoded side.
  return Schema.transform(Schema.extend(Schema.encodedSchema(schema), Message).annotations(annotations), schema, {
    strict: true,
    decode: (body) => body,
    encode: (fields, error) => ({ ...fields, message: error.message })
  }).annotations({ ...HttpApiSchema.annotations({ status: HttpApiSchema.getStatusError(schema) }), ...annotations })
}
