/**
 * A Node response that calls back from `end` even if the client has disconnected.
 */
import * as Http from "node:http"
import type * as Net from "node:net"

/**
 * Calls the callback of `end` once, when the response has been sent or its connection has closed. Node never calls it
 * after a disconnect. The platform waits for it, uninterruptibly, with each response that has a body, so the fiber would
 * never end.
 */
const end = (
  response: Http.ServerResponse,
  original: (parameters: ReadonlyArray<unknown>) => unknown,
  parameters: ReadonlyArray<unknown>
): void => {
  const callback = parameters.at(-1)
  if (typeof callback !== "function") return void original(parameters)
  let called = false
  const once = (): void => {
    if (called) return
    called = true
    callback()
  }
  response.once("close", once)
  original([...parameters.slice(0, -1), once])
  // A response destroyed earlier emits no further `close`. Deno does not set `closed`, hence `destroyed`.
  if (response.destroyed || response.socket?.destroyed === true) process.nextTick(once)
}

/** A response whose callbacks are called. */
export class Response<Request extends Http.IncomingMessage = Http.IncomingMessage>
  extends Http.ServerResponse<Request>
{
  override end(...parameters: ReadonlyArray<unknown>): this {
    // `Reflect.apply` takes the arguments of any overload of `end`.
    end(this, (parameters) => Reflect.apply(super.end, this, parameters), parameters)
    return this
  }
}

/**
 * Does the same for the response to an upgrade. The platform makes that one, of Node's own class, and Node assigns it to
 * this property of its connection.
 */
export const watchUpgrade = (socket: Net.Socket): void => {
  let current: unknown
  Object.defineProperty(socket, "_httpMessage", {
    configurable: true,
    get: () => current,
    set: (response: unknown) => {
      current = response
      if (!(response instanceof Http.ServerResponse) || response instanceof Response) return
      const original = response.end.bind(response)
      response.end = (...parameters: ReadonlyArray<unknown>) => {
        end(response, (parameters) => Reflect.apply(original, response, parameters), parameters)
        return response
      }
    }
  })
}
