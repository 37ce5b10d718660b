/** Types of the parts of Express that the benchmark uses; the package ships no types. */
declare module "express" {
  import type { IncomingMessage, ServerResponse } from "node:http"

  interface Application {
    (request: IncomingMessage, response: ServerResponse): void
    use(handler: unknown): void
    get(path: string, handler: (request: Request, response: Response) => void): void
    post(path: string, handler: (request: Request, response: Response, next: (error: unknown) => void) => void): void
  }
  interface Request extends IncomingMessage {
    readonly body: unknown
  }
  interface Response extends ServerResponse {
    json(body: unknown): void
  }
  const express: { (): Application; json(options: { readonly limit: number }): unknown }
  export default express
}
