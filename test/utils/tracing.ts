import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"

/** Collects the spans of an effect with their attributes, events and status. */
export const withSpans = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const spans: Array<Tracer.Span> = []
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      span: (...settings) => {
        const span = native.span(...settings)
        spans.push(span)
        return span
      },
      context: (f) => f()
    })
    yield* Effect.withTracer(effect, tracer)
    return spans
  })
