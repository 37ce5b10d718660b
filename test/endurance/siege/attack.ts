/** An attack on a server. */
import type { Target } from "./client.js"

export interface Attack {
  readonly title: string
  /** Only against a server with WebSocket sessions and the image API. */
  readonly needsSessions?: boolean
  /** Answers the number of requests and messages that it has sent, and throws if the server does not do what it should. */
  readonly run: (target: Target) => Promise<number>
}
