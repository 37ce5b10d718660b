import * as FastCheck from "effect/FastCheck"

// Bounds the time of a property: Stryker runs it once for each of thousands of mutants. Shrinking is not needed.
FastCheck.configureGlobal({ endOnFailure: true, interruptAfterTimeLimit: 1000, markInterruptAsFailure: false })
