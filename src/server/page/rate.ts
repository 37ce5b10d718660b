/** The rate of an upload, from the progress of the last seconds. */

interface Sample {
  readonly milliseconds: number
  readonly received: number
}

/** Shorter spans tell nothing about the rate. */
const minMilliseconds = 300
const windowMilliseconds = 3000

/** Takes the progress as it comes, and answers the rate in bytes per second; `undefined` at the start. */
export const makeRate = (): (sample: Sample) => number | undefined => {
  const samples: Array<Sample> = []
  return (sample) => {
    samples.push(sample)
    // One sample from before the window stays, so that a stall lowers the rate instead of hiding it.
    while (samples.length > 2 && sample.milliseconds - (samples[1]?.milliseconds ?? 0) >= windowMilliseconds) {
      samples.shift()
    }
    const [first = sample] = samples
    const span = sample.milliseconds - first.milliseconds
    return span < minMilliseconds ? undefined : (sample.received - first.received) / span * 1000
  }
}
