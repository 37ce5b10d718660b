/**
 * The places in a JSON message that matter to a dialect, as a tree: of the images, of their texts, and of the fields beside
 * them. Runs in browsers too.
 */
import * as Predicate from "effect/Predicate"

/** Every item of an array. */
export const each: unique symbol = Symbol.for("session-init-image/InitImageDialect/each")

export type Path = ReadonlyArray<string | number | typeof each>

/**
 * How a text holds an image: as base64, as a data URL, or as either. `"either"` is base64 where the text does not begin
 * with a scheme.
 */
export type Form = "base64" | "dataUrl" | "either"

/** The text of an image: its keys, from the image's value, and its form. Without keys the value is the text. */
export interface TextPlace {
  readonly at: ReadonlyArray<string>
  readonly form: Form
}

/** Where a kind of image stands, and the fields that make it one. */
export interface ShapePlaces {
  /** The places of an image's value in a message. */
  readonly at: Path
  /** The places of the image's text in the value. */
  readonly data: ReadonlyArray<TextPlace>
  /** The places of the other fields in the value. */
  readonly fields: ReadonlyArray<ReadonlyArray<string>>
}

/** A place in a message. */
export interface Place<out S> {
  /** The keys of an object that may occur once. */
  readonly members: ReadonlyMap<string, Place<S>>
  /** The items of an array that have a place of their own. */
  readonly items: ReadonlyMap<number, Place<S>>
  /** All other items of an array. */
  readonly each: Place<S> | undefined
  /** The kinds of image that the value may be; empty where it is none. */
  readonly shapes: ReadonlyArray<S>
  /** The form of an image's text at this place. */
  readonly form: Form | undefined
}

class Node<S> implements Place<S> {
  readonly members = new Map<string, Node<S>>()
  readonly items = new Map<number, Node<S>>()
  each: Node<S> | undefined = undefined
  readonly shapes: Array<S> = []
  form: Form | undefined = undefined

  child(step: string | number | typeof each): Node<S> {
    if (step === each) return this.each ??= new Node()
    const [children, key] = typeof step === "string" ? [this.members, step] as const : [this.items, step] as const
    // The key is of the map's type: both come from the same step.
    const map = children as Map<string | number, Node<S>>
    const child = map.get(key) ?? new Node<S>()
    map.set(key, child)
    return child
  }

  descend(path: Path): Node<S> {
    return path.reduce<Node<S>>((node, step) => node.child(step), this)
  }
}

/** Two shapes at one place may read one text in two forms. */
const joined = (a: Form | undefined, b: Form): Form => a === undefined || a === b ? b : "either"

/** The tree of the shapes' places, from the outermost value; `at` is in the place of their own. */
export const compile = <S extends ShapePlaces>(shapes: ReadonlyArray<S>, at?: Path): Place<S> => {
  const root = new Node<S>()
  for (const shape of shapes) {
    const image = root.descend(at ?? shape.at)
    image.shapes.push(shape)
    for (const field of shape.fields) image.descend(field)
    for (const text of shape.data) {
      const node = image.descend(text.at)
      node.form = joined(node.form, text.form)
    }
  }
  return root
}

/** Visits the values of a message at the places of images, in the order of the message. */
export const visit = <S>(
  value: unknown,
  place: Place<S>,
  onImage: (value: unknown, place: Place<S>) => void
): void => {
  if (place.shapes.length > 0) return onImage(value, place)
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      const child = place.items.get(index) ?? place.each
      if (child !== undefined) visit(item, child, onImage)
    }
  } else if (Predicate.isRecord(value)) {
    for (const key of Object.keys(value)) {
      const child = place.members.get(key)
      if (child !== undefined) visit(value[key], child, onImage)
    }
  }
}

/** The value of a field, where objects lead to it. */
export const fieldOf = (value: unknown, keys: ReadonlyArray<string>): unknown => {
  let field = value
  for (const key of keys) {
    if (!Predicate.isRecord(field) || Array.isArray(field) || !Object.hasOwn(field, key)) return undefined
    field = field[key]
  }
  return field
}
