/**
 * A response of Node that says in any case when it has ended.
 */
import * as Http from "node:http"

/**
 * Calls back what was given to `end` also when the client has left, where Node does not. The platform waits for it with
 * every response that has a body, and nothing can interrupt that: its fiber would stay for ever.
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
    // Deno does not tell whether it is closed.
    if (this.destroyed) process.nextTick(once)
    return this
  }

  #end(parameters: ReadonlyArray<unknown>): this {
    // What the overloads of `end` have in common.
    return Reflect.apply(super.end, this, parameters)
  }
}
