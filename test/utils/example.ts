/** Serves an example of a framework by its name: `npm run example -- hono`. */
import { frameworks } from "./frameworks.js"

const [name = ""] = process.argv.slice(2)
const start = Object.hasOwn(frameworks, name) ? frameworks[name] : undefined

if (start === undefined) {
  process.stderr.write(`npm run example -- <name>, one of: ${Object.keys(frameworks).join(", ")}\n`)
  process.exitCode = 2
} else {
  const server = await start()
  server.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : ""
    process.stdout.write(`Listening on http://127.0.0.1:${port}/init-image\n`)
  })
}
