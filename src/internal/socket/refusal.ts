/** The answer to a message that is refused. */
import type { PlatformError } from "@effect/platform/Error"
import * as Data from "effect/Data"
import * as Schema from "effect/Schema"
import { DecodeTimeout, InitImageError, UndecodableImage } from "../../InitImageError.js"
import * as errorBody from "../errorBody.js"
import * as protocol from "../protocol.js"

/**
 * Closes the session with `closeCode` if the message was to open it. A failure, but no `Error`: the trace of one costs as
 * much as the rest of an answer.
 */
export class Refusal extends Data.TaggedClass("Refusal")<{
  readonly answer: protocol.ErrorMessage
  readonly closeCode: number
}> {}

export const invalidMessage = (
  message: string,
  closeCode: number = protocol.CloseCode.unsupportedData
): Refusal => new Refusal({ answer: protocol.invalidMessage(message), closeCode })

export const notJson = invalidMessage("A message must be JSON.")
const notStored = new Refusal({
  answer: protocol.internalErrorMessage,
  closeCode: protocol.CloseCode.internalError
})

const encode = errorBody.encoder(Schema.Union(InitImageError, UndecodableImage, DecodeTimeout))

export const fromError = (error: InitImageError | UndecodableImage | DecodeTimeout | PlatformError): Refusal => {
  switch (error._tag) {
    case "SystemError":
    case "BadArgument":
      return notStored
    case "InvalidPayload":
      if (error.reason === "NotJson") return notJson
      if (error.reason === "TooDeep") return invalidMessage(error.message)
  }
  return new Refusal({
    answer: protocol.imageErrorMessage(encode(error)),
    closeCode: error._tag === "Busy" ? protocol.CloseCode.tryAgainLater : protocol.CloseCode.unsupportedData
  })
}
