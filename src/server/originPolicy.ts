/**
 * The host names that the server answers to by default.
 *
 * On the loopback address the names are fixed: the page of another site can point its own host name at 127.0.0.1 (DNS
 * rebinding), and its requests would otherwise have the server's own origin. See `InitImageHttp.checkOrigin`.
 */

const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || host.startsWith("127.")

const loopbackHosts = ["localhost", "127.0.0.1", "[::1]"]

/** Gives the host names for the address that the server listens on; `undefined` allows any name. */
export const defaultHosts = (host: string): ReadonlyArray<string> | undefined =>
  isLoopback(host) ? [...loopbackHosts, host] : undefined
