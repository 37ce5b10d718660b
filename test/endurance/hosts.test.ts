/** Sessions on two hosts, set and read at random, of which one is killed. `HOSTS_SEED` and `HOSTS_CALLS` set a run. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { isInstalled } from "../utils/cephTests.js"
import { leaveOut } from "../utils/peers.js"
import * as postgres from "../utils/postgres.js"
import * as cluster from "./cluster/hosts.js"
import { make as makeGateways } from "./gateways/gateways.js"
import * as clients from "./hosts/clients.js"
import { type Call, violations } from "./hosts/history.js"

const seed = Number(process.env["HOSTS_SEED"] ?? Date.now() % 0x7fffffff)
const calls = Number(process.env["HOSTS_CALLS"] ?? 1000)
const load = { seed, calls, sessions: 50, clients: 8 }

const report = (title: string, { calls, failed, torn }: clients.Outcome) => {
  const reads = calls.filter(({ kind }) => kind === "get").length
  process.stdout.write(
    `${title}, seed ${seed}: ${calls.length - reads} sets, ${reads} reads, ${failed} failed calls, ${torn} torn reads\n`
  )
}

describe("the check of a history", () => {
  const set = (image: number, start: number, end: number): Call => ({ kind: "set", session: 1, image, start, end })
  const get = (image: number, start: number, end: number): Call => ({ kind: "get", session: 1, image, start, end })

  it("accepts what one order explains", () => {
    assert.deepStrictEqual(
      violations([get(0, 0, 1), set(1, 0, 5), get(1, 2, 3), set(2, 6, Infinity), get(1, 7, 8), get(2, 9, 10)]),
      []
    )
  })

  it("finds an unknown, an early, a stale and an inverted read", () => {
    assert.lengthOf(violations([set(1, 0, 1), get(7, 2, 3)]), 1)
    assert.lengthOf(violations([get(1, 0, 1), set(1, 2, 3)]), 1)
    assert.lengthOf(violations([set(1, 0, 1), set(2, 2, 3), get(1, 4, 5)]), 1)
    assert.lengthOf(violations([set(1, 0, 1), get(0, 2, 3)]), 1)
    assert.lengthOf(violations([set(1, 0, 1), set(2, 2, 9), get(2, 3, 4), get(1, 5, 6)]), 1)
  })
})

describe("two hosts, one of which is killed", () => {
  if (postgres.program === undefined) leaveOut("PostgreSQL", "reads through a cluster are never stale")
  else {
    it.scopedLive("no read through the cluster is torn, mixed or older than an acknowledged set", () =>
      Effect.gen(function*() {
        const { start } = yield* cluster.make
        const first = yield* start
        let running = [first, yield* start]
        const outcome = yield* clients.run({
          ...load,
          urls: () => running.map(({ url }) => url),
          at: {
            [Math.floor(calls * 0.4)]: Effect.suspend(() => {
              running = running.slice(1)
              return Effect.asVoid(first.end("SIGKILL"))
            }),
            [Math.floor(calls * 0.7)]: Effect.map(start, (third) => {
              running = [...running, third]
            })
          }
        })
        report("cluster", outcome)
        assert.strictEqual(outcome.torn, 0)
        assert.deepStrictEqual(violations(outcome.calls), [])
        // A set that was sent to the killed host, and not more than that.
        assert.isAtMost(outcome.failed, load.clients)
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("no read is torn, mixed or stale while a host is suspended for longer than its locks last", () =>
      Effect.gen(function*() {
        const { start } = yield* cluster.make
        const hosts = [yield* start, yield* start] as const
        const outcome = yield* clients.run({
          ...load,
          urls: () => hosts.map(({ url }) => url),
          at: {
            [Math.floor(calls * 0.4)]: Effect.zipRight(
              hosts[0].signal("SIGSTOP"),
              Effect.delay(hosts[0].signal("SIGCONT"), "8 seconds")
            )
          }
        })
        report("cluster with a suspended host", outcome)
        assert.strictEqual(outcome.torn, 0)
        assert.deepStrictEqual(violations(outcome.calls), [])
      }).pipe(Effect.provide(NodeContext.layer)))
  }

  if (!isInstalled) {
    leaveOut("Ceph", "reads through an object store are never torn")
  } else {
    it.scopedLive("no read through the store is torn or mixed", () =>
      Effect.gen(function*() {
        const { gateways: [first, second] } = yield* makeGateways
        let running = [first, second]
        const outcome = yield* clients.run({
          ...load,
          urls: () => running.map(({ url }) => url()),
          at: {
            [Math.floor(calls * 0.4)]: Effect.suspend(() => {
              running = [second]
              return Effect.asVoid(first.kill)
            }),
            [Math.floor(calls * 0.7)]: Effect.map(first.restart, () => {
              running = [first, second]
            })
          }
        })
        report("store", outcome)
        assert.strictEqual(outcome.torn, 0)
        assert.deepStrictEqual(violations(outcome.calls), [])
        assert.isAtMost(outcome.failed, load.clients)
      }).pipe(Effect.provide(NodeContext.layer)))
  }
})
