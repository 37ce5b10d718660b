/** Runs many cases of a seed, and reports how to repeat the case that fails. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { randomInt } from "node:crypto"
import { turn } from "../utils/gates.js"
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

/** `FUZZ_CASE` repeats one case of the run. */
const onlyCase = numberFrom("FUZZ_CASE")

/** The number of cases of each part; `FUZZ_RUNS` sets their sum. */
const shares = { images: 146_000, base64: 24_000, payloads: 20_000, streams: 5_000, frames: 6_000, long: 60 }
const standard = Object.values(shares).reduce((sum, share) => sum + share, 0)

const factor = (numberFrom("FUZZ_RUNS") ?? standard) / standard

/** Cases between two turns of the event loop. */
const casesPerTurn = 100

/** Cases between two progress reports, in a part that is long. */
const minCasesPerReport = 1000
const maxReports = 10

/**
 * Runs every case of a part. A case returns its outcome, and throws or dies on a failure. A run of full length must
 * produce each of `outcomes`.
 */
export const fuzz = Effect.fnUntraced(function*<R>(
  part: keyof typeof shares,
  outcomes: ReadonlyArray<string>,
  run: (random: Random) => Effect.Effect<string, never, R>
) {
  const counts = new Map(outcomes.map((outcome) => [outcome, 0]))
  const first = onlyCase ?? 0
  const end = onlyCase === undefined ? Math.ceil(shares[part] * factor) : onlyCase + 1
  const reportEvery = Math.max(minCasesPerReport, Math.ceil((end - first) / maxReports))
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
    if ((index - first + 1) % reportEvery === 0) {
      process.stdout.write(`fuzz: ${part}: ${index - first + 1} of ${end - first}\n`)
    }
  }
  const summary = Array.from(counts, ([outcome, count]) => `${outcome} ${count}`).join(", ")
  process.stdout.write(`fuzz: seed ${seed}, ${end - first} ${part}: ${summary}\n`)
  const missed = outcomes.filter((outcome) => counts.get(outcome) === 0)
  if (end - first >= shares[part] && missed.length > 0) {
    return yield* Effect.dieMessage(`seed ${seed}: none of the ${part} came to ${missed.join(", ")}`)
  }
})
