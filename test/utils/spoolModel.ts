/**
 * A model of the documented behaviour of slots on one spool, without disk and time. Each operation that persists an
 * image is a generator, which yields at each stage at which a test may suspend the real operation.
 */

export interface Limits {
  readonly maxBytesInFlight: number
  readonly maxBytesKept: number
  readonly maxFilesKept: number
  readonly onFull: "wait" | "fail"
  /** Limit for one image. */
  readonly maxBytes: number
}

/**
 * - `waiting`: queued for admission.
 * - `source`: the first of two chunks has been read.
 * - `open`: before the file is created.
 * - `write`: the file exists and is empty.
 * - `kept`: the image is persisted, and the effect of `setWith` continues.
 * - `removing`: before a file is removed.
 */
export type Stage = "waiting" | "source" | "open" | "write" | "kept" | "removing"

/** How a suspended operation continues. `none`: its effect ends without an image. `fault`: the disk is full. */
export type Told = "go" | "fault" | "none" | "fail" | "die" | "interrupt"

export interface Image {
  readonly number: number
  /** In bytes. */
  readonly size: number
  /** `refused`: the declared type is not accepted. `broken`: the last byte is missing. */
  readonly content: "image" | "none" | "refused" | "broken"
  readonly how: "payload" | "stream" | "frame"
  /** The image is written to a directory outside the spool. */
  readonly elsewhere: boolean
  /** The slot's index; `undefined` when the test owns the file. */
  readonly slot: number | undefined
}

export interface File {
  readonly image: Image
  written: boolean
  /** Counted in the quota. */
  counted: boolean
  /** Removed without the spool's knowledge. */
  stale: boolean
}

export interface Held {
  readonly file: File
  references: number
}

interface Slot {
  /** Number of the last call. */
  lastSequence: number
  /** Number of the last call applied. */
  sequence: number
  current: Held | undefined
}

export interface Operation {
  readonly image: Image
  /** `undefined` after the end. */
  stage: Stage | undefined
  outcome: string
  readonly steps: Generator<Stage, string, Told>
}

type Steps<A> = Generator<Stage, A, Told>

interface Waiter {
  readonly bytes: number
  granted: boolean
  operation: Operation | undefined
}

export const make = (limits: Limits, slotCount: number) => {
  const limit = Math.min(limits.maxBytesInFlight, limits.maxBytesKept)
  const files = new Set<File>()
  const queue: Array<Waiter> = []
  const operations: Array<Operation> = []
  const given: Array<File> = []
  const openSlot = (): Slot => ({ lastSequence: 0, sequence: 0, current: undefined })
  const slots = Array.from({ length: slotCount }, openSlot)
  let inFlight = 0
  /** The waiter of the generator that is being advanced, until it is linked to its operation. */
  let newWaiter: Waiter | undefined

  const counted = () => [...files].filter((file) => file.counted)
  const keptBytes = () => counted().reduce((sum, { image }) => sum + image.size, 0)

  const drop = (file: File): void => {
    files.delete(file)
    file.counted = false
  }

  const fits = (bytes: number): boolean =>
    keptBytes() + bytes <= limits.maxBytesKept && counted().length + 1 <= limits.maxFilesKept

  /** Whether the quota has room for an image. Drops the stale files before it refuses. */
  const hasRoom = (bytes: number): boolean => {
    if (fits(bytes)) return true
    for (const file of [...files].filter(({ stale }) => stale)) drop(file)
    return fits(bytes)
  }

  const advance = (operation: Operation, told: Told): void => {
    const step = operation.steps.next(told)
    operation.stage = step.done === true ? undefined : step.value
    if (step.done === true) {
      operation.outcome = step.value
      operations.splice(operations.indexOf(operation), 1)
    } else if (step.value === "waiting" && newWaiter !== undefined) {
      newWaiter.operation = operation
      newWaiter = undefined
    }
  }

  const grant = (): void => {
    for (let waiter = queue[0]; waiter !== undefined; waiter = queue[0]) {
      if (inFlight + waiter.bytes > limits.maxBytesInFlight) return
      queue.shift()
      inFlight += waiter.bytes
      waiter.granted = true
      if (waiter.operation !== undefined) advance(waiter.operation, "go")
    }
  }

  const giveBack = (bytes: number): void => {
    inFlight -= bytes
    grant()
  }

  function* remove(file: File): Steps<void> {
    yield "removing"
    drop(file)
  }

  function* release(held: Held | undefined): Steps<void> {
    if (held !== undefined && --held.references === 0) yield* remove(held.file)
  }

  function* swap(slot: Slot, sequence: number, next: Held | undefined): Steps<void> {
    if (sequence < slot.sequence) return yield* release(next)
    const previous = slot.current
    slot.current = next
    slot.sequence = sequence
    yield* release(previous)
  }

  /** Writes the file of an admitted image. */
  function* write(image: Image): Steps<File | string> {
    const opening = yield "open"
    if (opening === "fault") {
      yield "removing"
      return "SystemError"
    }
    const file: File = { image, written: false, counted: false, stale: false }
    files.add(file)
    // The images are small: one uninterruptible call creates and writes each file.
    const told = yield "write"
    const writing = opening === "interrupt" ? "interrupt" : told
    if (told !== "fault") file.written = true
    if (writing === "go" && hasRoom(image.size)) {
      file.counted = true
      return file
    }
    yield* remove(file)
    return writing === "interrupt" ? "Interrupted" : writing === "fault" ? "SystemError" : "Busy 10"
  }

  function* admitted(image: Image, most: number): Steps<File | string> {
    const broken = image.content === "broken" ? "MalformedImage" : undefined
    if (image.how === "payload") return broken ?? (yield* write(image))
    const told = yield "source"
    if (told === "interrupt") return "Interrupted"
    if (told === "fail") return "told"
    // In a frame `mime` may follow `data`, so that a small image is refused only at the frame's end.
    if (image.content === "refused") return "InvalidMime"
    if (image.size > most) return `TooLarge ${most}`
    return broken ?? (yield* write(image))
  }

  function* persist(image: Image): Steps<File | string> {
    if (image.content === "none") return "none"
    if (image.content === "refused" && image.how !== "frame") return "InvalidMime"
    const payload = image.how === "payload"
    if (payload && image.size > limits.maxBytes) return `TooLarge ${limits.maxBytes}`
    if (payload && image.size > limit) return `TooLarge ${limit}`
    const most = Math.min(limits.maxBytes, limit)
    const bytes = payload ? image.size : most
    const least = payload ? image.size : 1
    if (!hasRoom(least)) return "Busy 10"
    if (queue.length > 0 || inFlight + bytes > limits.maxBytesInFlight) {
      if (limits.onFull === "fail") return "Busy 1"
      const waiter: Waiter = { bytes, granted: false, operation: undefined }
      queue.push(waiter)
      newWaiter = waiter
      yield "waiting"
      if (!waiter.granted) {
        queue.splice(queue.indexOf(waiter), 1)
        grant()
        return "Interrupted"
      }
    } else {
      inFlight += bytes
    }
    // A failed operation removes its file before it releases its reservation.
    const result = hasRoom(least) ? yield* admitted(image, most) : "Busy 10"
    giveBack(bytes)
    return result
  }

  function* run(image: Image): Steps<string> {
    const slot = image.slot === undefined ? undefined : slots[image.slot]
    const sequence = slot === undefined ? 0 : ++slot.lastSequence
    const persisted = yield* persist(image)
    if (typeof persisted === "string" && persisted !== "none") return persisted
    let file = typeof persisted === "string" ? undefined : persisted
    if (slot === undefined) {
      if (file !== undefined) given.push(file)
      return file === undefined ? "none" : "image"
    }
    if (file !== undefined && image.how !== "payload") {
      const told = yield "kept"
      if (told !== "go") {
        yield* remove(file)
        file = undefined
        if (told !== "none") return told === "interrupt" ? "Interrupted" : told === "die" ? "Die" : "told"
      }
    }
    yield* swap(slot, sequence, file === undefined ? undefined : { file, references: 1 })
    return file === undefined ? "none" : "image"
  }

  /** Runs all steps without suspension. */
  const drain = (steps: Steps<void>): void => {
    while (steps.next("go").done !== true);
  }

  return {
    files,
    given,
    slots,
    /** The operations that have not ended, in the order of their starts. */
    operations,
    gauges: () => ({ inFlight, waiting: queue.length, bytes: keptBytes(), files: counted().length }),
    start: (image: Image): Operation => {
      const operation: Operation = { image, stage: undefined, outcome: "", steps: run(image) }
      operations.push(operation)
      advance(operation, "go")
      return operation
    },
    tell: advance,
    clear: (index: number): void => {
      const slot = slots[index]
      if (slot !== undefined) drain(swap(slot, ++slot.lastSequence, undefined))
    },
    lease: (index: number): Held | undefined => {
      const held = slots[index]?.current
      if (held !== undefined) held.references++
      return held
    },
    release: (held: Held | undefined): void => drain(release(held)),
    /** Replaces a slot whose operations have ended by a new one. */
    reopen: (index: number): void => {
      drain(release(slots[index]?.current))
      slots[index] = openSlot()
    },
    /** Removes a file that the test owns. */
    remove: (file: File): void => {
      given.splice(given.indexOf(file), 1)
      file.stale = true
    }
  }
}

export type Model = ReturnType<typeof make>
