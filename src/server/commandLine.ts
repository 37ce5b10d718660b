/**
 * The command line of the server.
 */
import { parseArgs } from "node:util"
import { version } from "./version.js"

export const usage = `Usage: session-init-image [options]

Starts a server with a page that sends images.

Options:
  --port <port>     the port to listen on, 0 for a free one; by default the variable PORT, or 8787
  --host <address>  the address to listen on; by default the variable HOST, or 127.0.0.1, which other machines cannot reach
  --open            open the page in the browser
  --version         print the version
  --help            print this text

The README describes further environment variables, under "The reference server".
`

export type Command =
  /** `env` takes precedence over the environment's variables. */
  | { readonly _tag: "Serve"; readonly env: ReadonlyMap<string, string>; readonly open: boolean }
  | { readonly _tag: "Print"; readonly text: string }
  | { readonly _tag: "Refuse"; readonly text: string }

const refuse = (problem: string): Command => ({ _tag: "Refuse", text: `session-init-image: ${problem}\n\n${usage}` })

const isPort = (text: string): boolean => /^\d{1,5}$/.test(text) && Number(text) <= 65_535

/** Parses the arguments. The first of `--help` and `--version` decides before the other options. */
export const parse = (args: ReadonlyArray<string>): Command => {
  try {
    const { values: { help, host, open = false, port, version: showVersion } } = parseArgs({
      args: [...args],
      options: {
        port: { type: "string" },
        host: { type: "string" },
        open: { type: "boolean" },
        version: { type: "boolean" },
        help: { type: "boolean", short: "h" }
      }
    })
    if (help === true) return { _tag: "Print", text: usage }
    if (showVersion === true) return { _tag: "Print", text: `${version}\n` }
    if (port !== undefined && !isPort(port)) return refuse("--port must be a number from 0 to 65535")
    if (host === "") return refuse("--host must not be empty")
    const env = new Map<string, string>()
    if (port !== undefined) env.set("PORT", port)
    if (host !== undefined) env.set("HOST", host)
    return { _tag: "Serve", env, open }
  } catch (error) {
    // `parseArgs` throws for an unknown option, a missing value and an argument that is no option.
    return refuse(error instanceof Error ? error.message : String(error))
  }
}
