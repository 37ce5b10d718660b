import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { serve } from "./testServer.js"

const root = path.resolve(import.meta.dirname, "../../..")

const files = [
  ["/", "text/html; charset=utf-8"],
  ["/page.js", "text/javascript; charset=utf-8"],
  ["/style.css", "text/css; charset=utf-8"],
  ["/icon.svg", "image/svg+xml"]
] as const

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
]

const read = async (url: string) => {
  const texts = new Map<string, string>()
  for (const [file, contentType] of files) {
    const response = await fetch(`${url}${file}`)
    assert.strictEqual(response.status, 200, file)
    assert.strictEqual(response.headers.get("content-type"), contentType)
    assert.strictEqual(response.headers.get("x-content-type-options"), "nosniff")
    assert.strictEqual(response.headers.get("cache-control"), "no-cache")
    assert.strictEqual(response.headers.get("referrer-policy"), "no-referrer")
    assert.sameMembers((response.headers.get("content-security-policy") ?? "").split("; "), policy)
    texts.set(file, await response.text())
  }
  return texts
}

const assertPage = async (url: string) => {
  const texts = await read(url)
  const html = texts.get("/") ?? ""
  assert.match(html, /^<!doctype html>\s+<html lang="en">/i)
  // No inline code and no external resource.
  assert.notMatch(html, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/)
  assert.notMatch(html.replace("http://www.w3.org", ""), /https?:|\s(?:src|href)="(?:\/\/|data:)/)
  for (const [, target] of html.matchAll(/\s(?:src|href)="([^"#]*)"/g)) {
    assert.strictEqual((await fetch(`${url}${target}`)).status, 200, target)
  }
  assert.notMatch(texts.get("/style.css") ?? "", /@import|url\(/)
  const script = texts.get("/page.js") ?? ""
  assert.notMatch(script, /^\s*import\s|\bimport\(/m)
  return texts
}

describe("the page's files", () => {
  it.scopedLive("are served from the sources with their types, a strict policy and no external resource", () =>
    Effect.gen(function*() {
      const { url } = yield* serve()
      yield* Effect.promise(() => assertPage(url))
      yield* Effect.promise(async () => {
        assert.strictEqual((await fetch(`${url}/page.ts`)).status, 404)
        assert.strictEqual((await fetch(`${url}/public/page.js`)).status, 404)
      })
    }))

  const project = fs.mkdtempSync(path.join(tmpdir(), "session-init-image-page-"))
  let child: ChildProcess | undefined
  afterAll(async () => {
    if (child !== undefined && child.exitCode === null) {
      child.kill("SIGTERM")
      await once(child, "exit")
    }
    fs.rmSync(project, { recursive: true, force: true })
  })

  it("are served from the build without the sources and build tools", async () => {
    for (const file of ["src", "package.json", "tsconfig.json"]) {
      fs.cpSync(path.join(root, file), path.join(project, file), { recursive: true })
    }
    fs.symlinkSync(path.join(root, "node_modules"), path.join(project, "node_modules"))
    const { status, stderr, stdout } = spawnSync("npm", ["run", "build"], { cwd: project, encoding: "utf8" })
    assert.strictEqual(status, 0, stdout + stderr)
    fs.rmSync(path.join(project, "src"), { recursive: true })

    child = spawn(process.execPath, [path.join(project, "dist/bin/session-init-image.js")], {
      env: { PATH: process.env["PATH"], PORT: "0", INIT_IMAGE_DIRECTORY: path.join(project, "images") },
      stdio: ["ignore", "pipe", "inherit"]
    })
    assert(child.stdout !== null)
    let url: string | undefined
    for await (const line of createInterface(child.stdout)) {
      url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0]
      if (url !== undefined) break
    }
    assert(url !== undefined)
    const texts = await assertPage(url)
    assert.isBelow((texts.get("/page.js") ?? "").split("\n").length, 10, "the script is minified")
    assert.isBelow([...texts.values()].reduce((bytes, text) => bytes + Buffer.byteLength(text), 0), 60_000)
  })
})
