/** Runs a hook in React, in a renderer that draws nothing. */
import { createElement, Fragment, StrictMode, useEffect } from "react"
import makeRenderer from "react-reconciler"
import { ConcurrentRoot, DiscreteEventPriority, NoEventPriority } from "react-reconciler/constants.js"

let priority = NoEventPriority

const renderer = makeRenderer({
  supportsMutation: true,
  getRootHostContext: () => null,
  prepareForCommit: () => null,
  resetAfterCommit: () => {},
  clearContainer: () => {},
  detachDeletedInstance: () => {},
  getCurrentUpdatePriority: () => priority,
  setCurrentUpdatePriority: (next: number) => {
    priority = next
  },
  // Each update is as urgent as that of a click, for `flushSyncWork` to render it.
  resolveUpdatePriority: () => priority === NoEventPriority ? DiscreteEventPriority : priority,
  resolveEventType: () => null,
  resolveEventTimeStamp: () => -1,
  trackSchedulerEvent: () => {}
})

const onError = (error: unknown) => {
  throw error
}

export interface Mounted<A> {
  /** What the hook returns after all updates so far. */
  readonly current: () => A
  /** How often React has run the effects of the component: twice in strict mode. */
  readonly effects: () => number
  readonly unmount: () => void
}

export const mountHook = <A>(useHook: () => A, { isStrict }: { readonly isStrict: boolean }): Mounted<A> => {
  const results: Array<A> = []
  let effects = 0
  const Component = () => {
    results[0] = useHook()
    useEffect(() => {
      effects += 1
      return () => {}
    }, [])
    return null
  }
  const root = renderer.createContainer({}, ConcurrentRoot, null, false, null, "", onError, onError, onError, null)
  const render = (element: Parameters<typeof renderer.updateContainerSync>[0]) => {
    renderer.updateContainerSync(element, root, null)
    renderer.flushSyncWork()
  }
  render(createElement(isStrict ? StrictMode : Fragment, null, createElement(Component, null)))
  return {
    current: () => {
      renderer.flushSyncWork()
      // The first render has set it.
      return results[0] as A
    },
    effects: () => effects,
    unmount: () => render(null)
  }
}
