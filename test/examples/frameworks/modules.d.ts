/** Types of the parts that the examples use of packages and runtimes that are not development dependencies. */
declare module "hono" {
  export class Hono {
    post(path: string, handler: (context: { readonly req: { readonly raw: Request } }) => Promise<Response>): this
    fetch(request: Request): Promise<Response>
  }
}

declare module "react" {
  export const useState: <A>(initial: A) => [A, (next: A) => void]
  export const useRef: <A>(initial: A) => { current: A }
  export const useCallback: <A>(callback: A, dependencies: ReadonlyArray<unknown>) => A
}

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
