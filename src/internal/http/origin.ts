/**
 * The check of a request's `Origin` and `Host` against cross-site requests and DNS rebinding.
 */

interface Request {
  readonly method: string
  readonly headers: { readonly [name: string]: string | undefined }
}

/** Safe methods (RFC 9110 section 9.2.1). */
const safeMethods = new Set(["GET", "HEAD", "OPTIONS"])

const parse = (url: string): URL | undefined => URL.canParse(url) ? new URL(url) : undefined

/** Serializes an origin as a browser does. Opaque origins, of a non-web scheme or `null`, stay as they are. */
const serialize = (origin: string): string => {
  const serialized = parse(origin)?.origin
  return serialized === undefined || serialized === "null" ? origin : serialized
}

/** Gives the host name of a `Host` header, as a browser writes it. Accepts an IPv6 address without brackets. */
const hostname = (host: string): string | undefined => (parse(`http://${host}`) ?? parse(`http://[${host}]`))?.hostname

/**
 * An origin is the server's own if its host and port equal those of the request's `Host`. The scheme is not compared: a
 * server behind a proxy that terminates TLS does not know it.
 */
const isSameHost = (origin: string, host: string): boolean => {
  const url = parse(origin)
  if (url === undefined || !/^https?:$/.test(url.protocol)) return false
  // Parsed with the origin's scheme, so that either side may omit its default port.
  return url.host === parse(`${url.protocol}//${host}`)?.host
}

/**
 * Makes the check. Safe methods pass, except for an upgrade, and so do requests without an `Origin`, the server's own
 * origin, and `origins`.
 *
 * With `hosts`, every request to another host name is refused. A page that points its own host name at the server (DNS
 * rebinding) has the server's own origin and sends no `Origin` with its reads; only the `Host` reveals it.
 */
export const makeCheck = ({ hosts, origins = [] }: {
  readonly origins?: ReadonlyArray<string> | undefined
  readonly hosts?: ReadonlyArray<string> | undefined
}): (request: Request) => boolean => {
  const allowed = new Set(origins.map(serialize))
  const hostnames = hosts === undefined ? undefined : new Set(hosts.map((host) => hostname(host) ?? host))
  return ({ headers, method }) => {
    const { host, origin } = headers
    if (hostnames !== undefined && host !== undefined && !hostnames.has(hostname(host) ?? "")) return false
    const isUpgrade = headers["upgrade"] !== undefined
    if (origin === undefined || (safeMethods.has(method) && !isUpgrade)) return true
    return allowed.has(origin) || (host !== undefined && isSameHost(origin, host))
  }
}
