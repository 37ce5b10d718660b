/**
 * The places in a JSON message that matter to a dialect, as a tree: of the images, of their texts, and of the fields
 * beside them. Runs in browsers too.
 */
import * as Predicate from "effect/Predicate"
import type { Alphabet } from "../InitImagePayload.js"

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
  /** The base64 that the text may be beyond RFC 4648 section 4. */
  readonly alphabet?: Alphabet | undefined
  /** Whether every value that has a text is an image. */
  readonly isTotal?: boolean | undefined
}

/** The text of an image, as all shapes at its place have it. */
export interface Text {
  readonly form: Form
  readonly alphabet: Alphabet | undefined
  readonly isTotal: boolean
}

/** A place in a message. */
export interface Place<out S> {
  /** The keys of an object that may occur once. */
  readonly members: ReadonlyMap<string, Place<S>>
  /** The items of an array that have a place of their own. */
  readonly items: ReadonlyMap<number, Place<S>>
  /** All other items of an array. */
  readonly each: Place<S> | undefined
  /** The kinds of image that the value may be; empty where it is no image. */
  readonly shapes: ReadonlyArray<S>
  /** The image's text at this place. */
  readonly text: Text | undefined
}

/** The places in a message, from the outermost value. */
export interface Places<out S> {
  readonly root: Place<S>
  /** The longest of the keys that matter, in UTF-16 code units. */
  readonly maxKeyLength: number
}

class Node<S> implements Place<S> {
  readonly members = new Map<string, Node<S>>()
  readonly items = new Map<number, Node<S>>()
  each: Node<S> | undefined = undefined
  readonly shapes: Array<S> = []
  text: Text | undefined = undefined

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

/** Two shapes at one place may read one text in two forms. Their alphabets are the same. */
const joined = (a: Text | undefined, b: Text): Text =>
  a === undefined
    ? b
    : { form: a.form === b.form ? a.form : "either", alphabet: b.alphabet, isTotal: a.isTotal && b.isTotal }

/** The places of the shapes; `at` stands in for their own. */
export const compile = <S extends ShapePlaces>(shapes: ReadonlyArray<S>, at?: Path | undefined): Places<S> => {
  const root = new Node<S>()
  let maxKeyLength = 0
  const descend = (node: Node<S>, path: Path): Node<S> => {
    for (const step of path) if (typeof step === "string") maxKeyLength = Math.max(maxKeyLength, step.length)
    return node.descend(path)
  }
  for (const shape of shapes) {
    const { alphabet, isTotal = false } = shape
    const image = descend(root, at ?? shape.at)
    image.shapes.push(shape)
    for (const field of shape.fields) descend(image, field)
    for (const text of shape.data) {
      const node = descend(image, text.at)
      node.text = joined(node.text, { form: text.form, alphabet, isTotal })
    }
  }
  return { root, maxKeyLength }
}

/** The place of an array's item. */
export const itemOf = <S>(place: Place<S>, index: number): Place<S> | undefined => place.items.get(index) ?? place.each

/** Visits the values of a message at the places of images, in the order of the message. */
export const visit = <S>(
  value: unknown,
  place: Place<S>,
  onImage: (value: unknown, place: Place<S>, parent: object | undefined, key: string | number) => void,
  parent?: object,
  key: string | number = ""
): void => {
  if (place.shapes.length > 0) return onImage(value, place, parent, key)
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      const child = itemOf(place, index)
      if (child !== undefined) visit(item, child, onImage, value, index)
    }
  } else if (Predicate.isRecord(value)) {
    for (const key of Object.keys(value)) {
      const child = place.members.get(key)
      if (child !== undefined) visit(value[key], child, onImage, value, key)
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
