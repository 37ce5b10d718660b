/** Stands in for Hono, which is no development dependency: the part that the example uses. */
type Handler = (context: { readonly req: { readonly raw: Request } }) => Promise<Response>

export class Hono {
  readonly #routes = new Map<string, Handler>()

  post(path: string, handler: Handler): this {
    this.#routes.set(path, handler)
    return this
  }

  async fetch(request: Request): Promise<Response> {
    const handler = this.#routes.get(new URL(request.url).pathname)
    return handler === undefined ? new Response(null, { status: 404 }) : handler({ req: { raw: request } })
  }
}
