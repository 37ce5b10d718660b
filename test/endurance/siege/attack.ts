/** An attack on a server. */
import type { Target } from "./client.js"

export interface Attack {
  readonly title: string
  /** Not against the README's first server, which the points of the connection itself are for. */
  readonly referenceOnly?: boolean
  /** Answers the number of requests and messages that it has sent, and throws if the server does not do what it should. */
  readonly run: (target: Target) => Promise<number>
}
