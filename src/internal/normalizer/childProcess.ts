/** Decodes in child processes that are kept warm. A decode that is to end takes its process with it. */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { Busy } from "../../InitImageError.js"
import type { Decoder } from "./decoder.js"
import { type Input, type Job, ready, type Reply, started, undecodable } from "./job.js"

/** No child starts: sharp is not installed, or the system has no process to give. */
export class CannotStart extends Data.TaggedError("CannotStart")<{}> {}

export interface Options {
  /** The program of the child; see `child.ts`. */
  readonly entry: URL
  readonly accept: ReadonlyArray<Input>
  /** The number of children. */
  readonly concurrency: number
  readonly timeout: Duration.DurationInput
}

interface Child {
  readonly process: ChildProcess
  /** Answers `false` if the child ended before it was ready. */
  readonly ready: Promise<boolean>
  readonly exited: Promise<void>
  isEnded: boolean
}

/** A decoder of hostile images does not get the parent's secrets. */
const inherited = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "SystemRoot"]

const environment = (): Record<string, string> => ({
  ...Object.fromEntries(inherited.flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value]]
  })),
  // One decode at a time; more threads take memory only.
  UV_THREADPOOL_SIZE: "1"
})

const start = ({ accept, entry }: Options): Child => {
  const child = fork(entry, accept, {
    env: environment(),
    execArgv: [],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc"]
  })
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve())
    // A child that was never started has no exit.
    child.on("error", () => {
      if (child.pid === undefined) resolve()
    })
  })
  const started: Child = {
    process: child,
    ready: Promise.race([
      new Promise<boolean>((resolve) => child.once("message", (message) => resolve(message === ready))),
      exited.then(() => false)
    ]),
    exited,
    isEnded: false
  }
  void exited.then(() => {
    started.isEnded = true
  })
  return started
}

/**
 * Answers the reply, or that the image is undecodable if the child ended over it. Fails if the child ended before it had
 * got the job: a process that has just died still takes messages.
 */
const ask = ({ process }: Child, job: Job): Effect.Effect<Reply, "NotStarted"> =>
  Effect.async<Reply, "NotStarted">((resume) => {
    let isStarted = false
    const onMessage = (message: Reply | typeof started) => {
      if (message === started) isStarted = true
      else resume(Effect.succeed(message))
    }
    const onExit = () => resume(isStarted ? Effect.succeed(undecodable) : Effect.fail("NotStarted"))
    process.on("message", onMessage)
    process.once("exit", onExit)
    process.send(job, (error) => {
      if (error !== null) resume(Effect.fail("NotStarted"))
    })
    return Effect.sync(() => {
      process.off("message", onMessage)
      process.off("exit", onExit)
    })
  })

const kill = ({ exited, process }: Child): Effect.Effect<void> =>
  Effect.promise(() => {
    process.kill("SIGKILL")
    return exited
  })

const busy = new Busy({ retryAfter: 1 })

/** Starts the children, which end with the scope. */
export const make = (options: Options): Effect.Effect<Decoder, CannotStart, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope

    /** A child with its scope. One that starts after `scope` was closed is killed at once. */
    const makeSlot = Effect.gen(function*() {
      const own = yield* Scope.fork(scope, ExecutionStrategy.sequential)
      const child = yield* Scope.extend(Effect.acquireRelease(Effect.sync(() => start(options)), kill), own)
      return { child, end: Scope.close(own, Exit.void) }
    })
    const idle = yield* Effect.replicateEffect(makeSlot, options.concurrency)
    const isReady = yield* Effect.promise(() => Promise.all(idle.map(({ child }) => child.ready)))
    if (!isReady.every(Boolean)) return yield* new CannotStart()

    /** Admission lets no more decodes run than there are children. */
    const take = Effect.suspend(() => {
      const slot = idle.shift()
      if (slot === undefined) return makeSlot
      return slot.child.isEnded ? Effect.zipRight(slot.end, makeSlot) : Effect.succeed(slot)
    })

    return {
      run: (job, restore, onSettled) => {
        const attempt = Effect.flatMap(take, (slot) =>
          Effect.flatMap(
            Effect.promise(() => slot.child.ready),
            (isReady): Effect.Effect<Reply, "TimedOut" | "NotStarted" | Busy> =>
              isReady
                ? Effect.timeoutFail(ask(slot.child, job), {
                  duration: options.timeout,
                  onTimeout: () => "TimedOut" as const
                })
                : busy
          ).pipe(
            restore,
            Effect.onExit((exit) =>
              Effect.map(
                Exit.isFailure(exit) || slot.child.isEnded
                  ? Effect.zipRight(slot.end, makeSlot)
                  : Effect.succeed(slot),
                (next) => {
                  idle.push(next)
                }
              )
            )
          ))
        // A child that died while it was idle has been replaced.
        return attempt.pipe(
          Effect.catchIf((error) => error === "NotStarted", () => attempt),
          Effect.mapError((error) => error === "NotStarted" ? busy : error),
          Effect.ensuring(Effect.sync(onSettled))
        )
      }
    }
  })
