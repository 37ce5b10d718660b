/** Tells of every use of the network and of the file system outside of a directory. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as dns from "node:dns"
import * as net from "node:net"

/** The network of this process, as long as the scope is open: each attempt is recorded and fails. */
export const makeNetwork: Effect.Effect<ReadonlyArray<string>, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const uses: Array<string> = []
    const refuse = (name: string) => (): never => {
      uses.push(name)
      throw new Error(`${name} was called`)
    }
    const { connect } = net.Socket.prototype
    const { fetch } = globalThis
    const { lookup } = dns.promises
    net.Socket.prototype.connect = refuse("connect")
    globalThis.fetch = refuse("fetch")
    dns.promises.lookup = refuse("lookup")
    const restore = () => {
      net.Socket.prototype.connect = connect
      globalThis.fetch = fetch
      dns.promises.lookup = lookup
    }
    return { uses, restore }
  }),
  ({ restore }) => Effect.sync(restore)
).pipe(Effect.map(({ uses }) => uses))

/** A file system that records the paths of its calls. */
export const recordPaths = (fs: FileSystem.FileSystem, paths: Array<string>): FileSystem.FileSystem =>
  new Proxy(fs, {
    get: (target, key) => {
      const member: unknown = Reflect.get(target, key, target)
      return typeof member !== "function" ? member : (...args: ReadonlyArray<unknown>): unknown => {
        paths.push(String(args[0]))
        return Reflect.apply(member, target, args)
      }
    }
  })

/** The paths that the effect gives to its file system. */
export const pathsOf = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<ReadonlyArray<string>, E, R | FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => {
    const paths: Array<string> = []
    return Effect.as(Effect.provideService(effect, FileSystem.FileSystem, recordPaths(fs, paths)), paths)
  })
