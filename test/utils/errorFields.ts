import * as Schema from "effect/Schema"
import { InitImageError } from "../../src/index.js"

const encode = Schema.encodeSync(InitImageError.InitImageError)

/** The encoded fields of an error, without its message, which is a function of them. */
export const errorFields = (
  error: InitImageError.InitImageError
): Omit<typeof InitImageError.InitImageError.Encoded, "message"> => {
  const { message: _, ...fields } = encode(error)
  return fields
}
