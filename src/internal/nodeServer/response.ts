/**
 * A Node response that calls back from `end` even if the client has disconnected.
 */
import * as Http from "node:http"

/**
 * Calls the callback of `end` once, when the response has been sent or its connection has closed. Node never calls it
 * after a disconnect. The platform waits for it, uninterruptibly, with each response that has a body, so the fiber would
 * never end.
 */
export class Response<Request extends Http.IncomingMessage = Http.IncomingMessage>
  extends Http.ServerResponse<Request>
{
  override end(...parameters: ReadonlyArray<unknown>): this {
    const callback = parameters.at(-1)
    if (typeof callback !== "function") return this.#end(parameters)
    let called = false
    const once = (): void => {
      if (called) return
      called = true
      callback()
    }
    this.once("close", once)
    this.#end([...parameters.slice(0, -1), once])
    // A response destroyed earlier emits no further `close`. Deno does not set `closed`, hence `destroyed`.
    if (this.destroyed) process.nextTick(once)
    return this
  }

  #end(parameters: ReadonlyArray<unknown>): this {
    // `Reflect.apply` takes the arguments of any overload of `end`.
    return Reflect.apply(super.end, this, parameters)
  }
}
