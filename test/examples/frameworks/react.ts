/** React: a hook that opens a session with a picture over a WebSocket. */
import { useCallback, useRef, useState } from "react"
import {
  type ImageDescription,
  type Progress,
  send,
  type SendError,
  type WebSocketLike
} from "session-init-image/browser/promise"

export type State =
  | { readonly status: "none" }
  | { readonly status: "sending"; readonly progress: Progress | undefined }
  | { readonly status: "open"; readonly image: ImageDescription }
  | { readonly status: "refused"; readonly error: SendError }

/** A picture that is too large or of a wrong type is refused before it is sent; `error.message` is fit to show. */
export const useInitImage = (socket: WebSocketLike) => {
  const [state, setState] = useState<State>({ status: "none" })
  const upload = useRef<AbortController | undefined>(undefined)

  const choose = useCallback(async (file: Blob) => {
    upload.current?.abort()
    const { signal } = upload.current = new AbortController()
    const set = (state: State) => {
      if (!signal.aborted) setState(state)
    }
    set({ status: "sending", progress: undefined })
    try {
      const onProgress = (progress: Progress) => set({ status: "sending", progress })
      set({ status: "open", image: await send(socket, file, { type: "session_init_v2", onProgress, signal }) })
    } catch (error) {
      // All that `send` rejects with, but for the signal's reason.
      set({ status: "refused", error: error as SendError })
    }
  }, [socket])

  return { state, choose, cancel: () => upload.current?.abort() }
}
