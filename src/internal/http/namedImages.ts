/**
 * The current images of sessions as images of a store under the sessions' ids.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Store, StoreError } from "../../InitImageStore.js"
import { type Images, isSame, trouble } from "./storedSessions.js"

const storeFailed = (error: StoreError) =>
  trouble(error.operation, error, error.reason === "Denied" ? "PermissionDenied" : "Unknown")

export const make = ({ fetchScoped, named }: Store): Images => ({
  put: (sessionId, image) => Effect.mapError(named.put(sessionId, image), storeFailed),
  current: (sessionId) => Effect.mapError(named.get(sessionId), storeFailed),
  clear: (sessionId, only) =>
    (only === undefined ? Effect.succeed(true) : Effect.map(
      named.get(sessionId),
      Option.exists((current) => isSame(current, only))
    )).pipe(
      Effect.flatMap((isCurrent) => isCurrent ? named.remove(sessionId) : Effect.void),
      Effect.mapError(storeFailed)
    ),
  fetchScoped
})
