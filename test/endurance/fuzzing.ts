/** Runs many cases of a seed, and says how to repeat the one that fails. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { randomInt } from "node:crypto"
import { forCase } from "./random.js"
import type { Random } from "./random.js"

const numberFrom = (name: string): number | undefined => {
  const text = process.env[name]
  if (text === undefined || text === "") return undefined
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} must be a whole number`)
  return value
}

/** `FUZZ_SEED` repeats a run. */
export const seed = numberFrom("FUZZ_SEED") ?? randomInt(2 ** 32)

/** `FUZZ_CASE` repeats a single case of it. */
const onlyCase = numberFrom("FUZZ_CASE")

/** How many cases each part gets; `FUZZ_RUNS` is how many there are to be in all. */
const shares = { images: 146_000, base64: 24_000, payloads: 20_000, streams: 5_000, frames: 6_000, long: 60 }
const standard = Object.values(shares).reduce((sum, share) => sum + share, 0)

const factor = (numberFrom("FUZZ_RUNS") ?? standard) / standard

/** Far more than it takes: what bounds the work of a case is counted. */
export const timeout = 300_000 * Math.max(1, factor)

/** How many cases run before the event loop has its turn. */
const casesPerTurn = 100

const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

/**
 * A case answers what became of it; a run that is long enough must have met each of `outcomes`. Whatever is wrong with
 * a case, it throws or dies.
 */
export const fuzz = Effect.fnUntraced(function*<R>(
  part: keyof typeof shares,
  outcomes: ReadonlyArray<string>,
  run: (random: Random) => Effect.Effect<string, never, R>
) {
  const counts = new Map(outcomes.map((outcome) => [outcome, 0]))
  const first = onlyCase ?? 0
  const end = onlyCase === undefined ? Math.ceil(shares[part] * factor) : onlyCase + 1
  for (let index = first; index < end; index++) {
    const outcome = yield* Effect.catchAllCause(
      Effect.suspend(() => run(forCase(seed, part, index))),
      (cause) =>
        Effect.dieMessage(
          `Case ${index} of seed ${seed}; to repeat it: FUZZ_SEED=${seed} FUZZ_CASE=${index} npx vitest run ` +
            `test/endurance/fuzz.test.ts -t '^200,000 mutations ${part}'\n${
              Cause.pretty(cause, { renderErrorCause: true })
            }`
        )
    )
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    if (index % casesPerTurn === 0) yield* turn
  }
  const said = Array.from(counts, ([outcome, count]) => `${outcome} ${count}`).join(", ")
  process.stdout.write(`fuzz: seed ${seed}, ${end - first} ${part}: ${said}\n`)
  const missed = outcomes.filter((outcome) => counts.get(outcome) === 0)
  if (end - first >= shares[part] && missed.length > 0) {
    return yield* Effect.dieMessage(`seed ${seed}: none of the ${part} came to ${missed.join(", ")}`)
  }
})
