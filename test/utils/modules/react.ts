/** Stands in for React, which is no development dependency: the hooks of one component at a time. */
let cells: Array<unknown> = []
let next = 0

const cell = <A>(initial: A): { readonly at: number; readonly value: A } => {
  const at = next++
  if (at === cells.length) cells.push(initial)
  // Each call of a component makes the same calls of hooks in the same order.
  return { at, value: cells[at] as A }
}

export const useState = <A>(initial: A): [A, (next: A) => void] => {
  const { at, value } = cell(initial)
  return [value, (next) => void (cells[at] = next)]
}

export const useRef = <A>(initial: A): { current: A } => cell({ current: initial }).value

let cleanUps: Array<() => void> = []

/** Runs an effect at the first render only. */
export const useEffect = (effect: () => () => void): void => {
  const ran = useRef(false)
  if (!ran.current) cleanUps.push(effect())
  ran.current = true
}

/** Ends the effects of the component. */
export const unmount = (): void => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp()
}

/** Mounts a component; each call of the result renders it. */
export const mount = <A>(component: () => A): () => A => {
  cells = []
  cleanUps = []
  return () => {
    next = 0
    return component()
  }
}
