/** The parts of Bun and Deno that the examples use. */
declare const Bun: {
  serve(options: {
    readonly hostname: string
    readonly port: number
    readonly maxRequestBodySize: number
    readonly fetch: (request: Request) => Promise<Response>
  }): unknown
}

declare const Deno: {
  serve(
    options: { readonly hostname: string; readonly port: number },
    handler: (request: Request) => Promise<Response>
  ): unknown
}
