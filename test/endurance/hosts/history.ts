/** A history of sessions as their clients saw it, and the check that one order of all calls explains it. */

/** A set or a read of one session. Times are in milliseconds. */
export interface Call {
  readonly kind: "set" | "get"
  readonly session: number
  /** The number of the image; 0 for no image. Each is set once. */
  readonly image: number
  readonly start: number
  /** Infinity for a set that was not acknowledged: it may take effect later, or never. */
  readonly end: number
}

const none: Call = { kind: "set", session: -1, image: 0, start: -Infinity, end: -Infinity }

/** The reads that no order of the session's calls explains, as texts. */
export const violations = (calls: ReadonlyArray<Call>): ReadonlyArray<string> => {
  const found: Array<string> = []
  const sessions = group(calls)
  for (const [session, ofSession] of sessions) {
    const sets = ofSession.filter(({ kind }) => kind === "set")
    const setOf = new Map([none, ...sets].map((set) => [set.image, set]))
    const reads = ofSession.flatMap((read) => {
      if (read.kind === "set") return []
      const set = setOf.get(read.image)
      if (set === undefined) found.push(`session ${session}: read image ${read.image}, which was never set there`)
      return set === undefined ? [] : [{ read, set }]
    })
    for (const { read, set } of reads) {
      if (set.start > read.end) found.push(`session ${session}: read image ${set.image} before it was set`)
      const later = sets.find((other) => set.end < other.start && other.end < read.start)
      if (later !== undefined) {
        found.push(`session ${session}: read image ${set.image} after image ${later.image} was acknowledged`)
      }
      const newer = reads.find((other) => other.read.end < read.start && set.end < other.set.start)
      if (newer !== undefined) {
        found.push(`session ${session}: read image ${set.image} after a read of image ${newer.set.image}`)
      }
    }
  }
  return found
}

const group = (calls: ReadonlyArray<Call>): Map<number, ReadonlyArray<Call>> => {
  const sessions = new Map<number, Array<Call>>()
  for (const call of calls) sessions.set(call.session, [...sessions.get(call.session) ?? [], call])
  return sessions
}
