/**
 * Failures of a request that are not about its image, with the same JSON form as an `InitImageError`.
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Schema from "effect/Schema"
import { respond } from "../errorBody.js"

/**
 * Refuses a request for an image or a path that does not exist. HTTP status 404.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound extends Schema.TaggedError<NotFound>("session-init-image/InitImageApi/NotFound")(
  "NotFound",
  {},
  HttpApiSchema.annotations({ status: 404 })
) implements HttpServerRespondable.Respondable {
  /** @since 0.1.0 */
  override get message(): string {
    return "There is nothing here."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(NotFound, this)
  }
}

/**
 * Refuses a request for an image whose file has been removed from the disk. HTTP status 410.
 *
 * @since 0.1.0
 * @category errors
 */
export class Gone extends Schema.TaggedError<Gone>("session-init-image/InitImageApi/Gone")(
  "Gone",
  {},
  HttpApiSchema.annotations({ status: 410 })
) implements HttpServerRespondable.Respondable {
  /** @since 0.1.0 */
  override get message(): string {
    return "The image no longer exists. Send it again."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(Gone, this)
  }
}

/**
 * Refuses a request whose client has sent nothing for too long. HTTP status 408.
 *
 * @since 0.1.0
 * @category errors
 */
export class RequestTimeout
  extends Schema.TaggedError<RequestTimeout>("session-init-image/InitImageApi/RequestTimeout")(
    "RequestTimeout",
    {},
    HttpApiSchema.annotations({ status: 408 })
  )
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The image did not arrive in time."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(RequestTimeout, this)
  }
}

/**
 * Answers a request that failed for a reason of the server's own, without the reason. HTTP status 500.
 *
 * @since 0.1.0
 * @category errors
 */
export class InternalServerError
  extends Schema.TaggedError<InternalServerError>("session-init-image/InitImageApi/InternalServerError")(
    "InternalServerError",
    {},
    HttpApiSchema.annotations({ status: 500 })
  )
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The server failed to handle the request."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(InternalServerError, this)
  }
}
