/**
 * Whether a request may come from where it says that it comes from.
 */

interface Request {
  readonly method: string
  readonly headers: { readonly [name: string]: string | undefined }
}

/** Methods that change nothing (RFC 9110 section 9.2.1). */
const safeMethods = new Set(["GET", "HEAD", "OPTIONS"])

const parse = (url: string): URL | undefined => URL.canParse(url) ? new URL(url) : undefined

/** As a browser writes it. Those of some schemes are opaque, as are those of pages that hide theirs: no name for one. */
const serialize = (origin: string): string => {
  const serialized = parse(origin)?.origin
  return serialized === undefined || serialized === "null" ? origin : serialized
}

/** The name in a `Host`, as a browser writes it; one of IPv6 may be given without its brackets. */
const nameOf = (host: string): string | undefined => (parse(`http://${host}`) ?? parse(`http://[${host}]`))?.hostname

/**
 * A page's `Origin` is the server's own if it has the name and port that the request was sent to. Its scheme is not
 * known behind a proxy that ends TLS.
 */
const isOwn = (origin: string, host: string): boolean => {
  const from = parse(origin)
  if (from === undefined || !/^https?:$/.test(from.protocol)) return false
  // With the scheme of the origin: its default port may be left out in either of them.
  return from.host === parse(`${from.protocol}//${host}`)?.host
}

/**
 * A page whose name has been made to point at the server is of the server's own origin: its reads come without an
 * `Origin`, and only the name that they were sent to tells. So where the names are given, nothing that was sent to
 * another one passes.
 */
export const makeCheck = ({ hosts, origins = [] }: {
  readonly origins?: ReadonlyArray<string> | undefined
  readonly hosts?: ReadonlyArray<string> | undefined
}): (request: Request) => boolean => {
  const allowed = new Set(origins.map(serialize))
  const names = hosts === undefined ? undefined : new Set(hosts.map((host) => nameOf(host) ?? host))
  return ({ headers, method }) => {
    const { host, origin } = headers
    if (names !== undefined && host !== undefined && !names.has(nameOf(host) ?? "")) return false
    const isUpgrade = headers["upgrade"] !== undefined
    if (origin === undefined || (safeMethods.has(method) && !isUpgrade)) return true
    return allowed.has(origin) || (host !== undefined && isOwn(origin, host))
  }
}
