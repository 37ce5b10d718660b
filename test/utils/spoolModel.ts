/**
 * What the documentation says that slots on one spool do, without a disk and without time: every image that is being
 * persisted is a generator that stops wherever the test holds the real one.
 */

export interface Limits {
  readonly maxBytesInFlight: number
  readonly maxBytesKept: number
  readonly maxFilesKept: number
  readonly onFull: "wait" | "fail"
  /** Of one image. */
  readonly maxBytes: number
}

/**
 * `source`: half of its stream has come. `open`: its file is about to be created. `write`: the file is there, and empty.
 * `kept`: the image is persisted, and what a slot runs goes on. `removing`: a file is about to be removed.
 */
export type Stage = "waiting" | "source" | "open" | "write" | "kept" | "removing"

export type Told = "go" | "fault" | "none" | "fail" | "die" | "interrupt"

export interface Image {
  readonly number: number
  /** In bytes, as it is sent. */
  readonly size: number
  /** `refused` for its type, `broken` at its very end. */
  readonly content: "image" | "none" | "refused" | "broken"
  readonly how: "payload" | "stream" | "frame"
  /** In a directory that is not the spool's. */
  readonly elsewhere: boolean
  /** None: it is given to the test. */
  readonly slot: number | undefined
}

export interface File {
  readonly image: Image
  written: boolean
  /** Whether it counts as kept. */
  counted: boolean
  /** The spool has not been told that it is gone. */
  stale: boolean
}

export interface Held {
  readonly file: File
  references: number
}

interface Slot {
  turns: number
  currentTurn: number
  current: Held | undefined
}

export interface Operation {
  readonly image: Image
  /** None once it has ended. */
  stage: Stage | undefined
  outcome: string
  readonly life: Generator<Stage, string, Told>
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
  const openSlot = (): Slot => ({ turns: 0, currentTurn: 0, current: undefined })
  const slots = Array.from({ length: slotCount }, openSlot)
  let inFlight = 0
  /** The waiter that the generator which is just being run has become. */
  let becomes: Waiter | undefined

  const counted = () => [...files].filter((file) => file.counted)
  const keptBytes = () => counted().reduce((sum, { image }) => sum + image.size, 0)

  const drop = (file: File): void => {
    files.delete(file)
    file.counted = false
  }

  const fits = (bytes: number): boolean =>
    keptBytes() + bytes <= limits.maxBytesKept && counted().length + 1 <= limits.maxFilesKept

  /** Whether there is room to keep it. What has gone unseen is looked for before anybody is refused. */
  const hasRoom = (bytes: number): boolean => {
    if (fits(bytes)) return true
    for (const file of [...files].filter(({ stale }) => stale)) drop(file)
    return fits(bytes)
  }

  const advance = (operation: Operation, told: Told): void => {
    const step = operation.life.next(told)
    operation.stage = step.done === true ? undefined : step.value
    if (step.done === true) {
      operation.outcome = step.value
      operations.splice(operations.indexOf(operation), 1)
    } else if (step.value === "waiting" && becomes !== undefined) {
      becomes.operation = operation
      becomes = undefined
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

  function* swap(slot: Slot, turn: number, next: Held | undefined): Steps<void> {
    if (turn < slot.currentTurn) return yield* release(next)
    const previous = slot.current
    slot.current = next
    slot.currentTurn = turn
    yield* release(previous)
  }

  /** An image that has been admitted, from its file's creation on. */
  function* write(image: Image): Steps<File | string> {
    const opening = yield "open"
    if (opening === "fault") {
      yield "removing"
      return "SystemError"
    }
    const file: File = { image, written: false, counted: false, stale: false }
    files.add(file)
    // Small as they all are, one is created and written in one call, whatever is asked of it meanwhile.
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
    // What a frame says of its image may stand behind it, and nothing is made of a small one before that.
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
      becomes = waiter
      yield "waiting"
      if (!waiter.granted) {
        queue.splice(queue.indexOf(waiter), 1)
        grant()
        return "Interrupted"
      }
    } else {
      inFlight += bytes
    }
    // One that fails has left nothing on the disk when what it had reserved is given back.
    const result = hasRoom(least) ? yield* admitted(image, most) : "Busy 10"
    giveBack(bytes)
    return result
  }

  function* live(image: Image): Steps<string> {
    const slot = image.slot === undefined ? undefined : slots[image.slot]
    const turn = slot === undefined ? 0 : ++slot.turns
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
    yield* swap(slot, turn, file === undefined ? undefined : { file, references: 1 })
    return file === undefined ? "none" : "image"
  }

  /** What nobody stops. */
  const drain = (steps: Steps<void>): void => {
    while (steps.next("go").done !== true);
  }

  return {
    files,
    given,
    slots,
    /** That have not ended, in the order in which they were started. */
    operations,
    gauges: () => ({ inFlight, waiting: queue.length, bytes: keptBytes(), files: counted().length }),
    start: (image: Image): Operation => {
      const operation: Operation = { image, stage: undefined, outcome: "", life: live(image) }
      operations.push(operation)
      advance(operation, "go")
      return operation
    },
    tell: advance,
    clear: (index: number): void => {
      const slot = slots[index]
      if (slot !== undefined) drain(swap(slot, ++slot.turns, undefined))
    },
    lease: (index: number): Held | undefined => {
      const held = slots[index]?.current
      if (held !== undefined) held.references++
      return held
    },
    release: (held: Held | undefined): void => drain(release(held)),
    /** The operations of the slot have ended. */
    reopen: (index: number): void => {
      drain(release(slots[index]?.current))
      slots[index] = openSlot()
    },
    /** A file that was given away. */
    remove: (file: File, tell: boolean): void => {
      given.splice(given.indexOf(file), 1)
      if (tell) drop(file)
      else file.stale = true
    }
  }
}

export type Model = ReturnType<typeof make>
