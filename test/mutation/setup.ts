import * as FastCheck from "effect/FastCheck"

// Thousands of runs of a property for each of thousands of mutants would take a day, and so would shrinking.
FastCheck.configureGlobal({ endOnFailure: true, interruptAfterTimeLimit: 1000, markInterruptAsFailure: false })
