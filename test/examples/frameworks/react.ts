/** React: a hook that opens a session with a picture over a WebSocket, and replaces the picture. */
import { useEffect, useRef, useState } from "react"
import * as Client from "session-init-image/browser/promise"

export type State =
  | { readonly status: "none" }
  | { readonly status: "sending"; readonly progress?: Client.Progress }
  | { readonly status: "open"; readonly image: Client.ImageDescription }
  | { readonly status: "refused"; readonly error: Client.SendError } // `error.message` is fit to show

/** `connect` makes a WebSocket. A session without a picture ends, and the next picture opens another one. */
export const useInitImage = (connect: () => Client.WebSocketLike) => {
  const [state, setState] = useState<State>({ status: "none" })
  const upload = useRef<AbortController | undefined>(undefined)
  const session = useRef<{ socket: Client.WebSocketLike; image?: Client.ImageDescription } | undefined>(undefined)
  const current = () => (session.current?.socket.readyState ?? 3) > 1 ? undefined : session.current
  const held = (image = current()?.image): State => image ? { status: "open", image } : { status: "none" }
  const correct = () => setState((state) => state.status === "open" ? held() : state)
  const choose = async (file: Blob) => {
    setState({ status: "sending" })
    upload.current?.abort()
    const { signal } = upload.current = new AbortController()
    const now = session.current = current() ?? { socket: connect() }
    const set = (state: State) => void (signal.aborted || setState(state))
    const onProgress = (progress: Client.Progress) => set({ status: "sending", progress })
    const onAcceptedLate = (image: Client.ImageDescription) => (now.image = image, correct())
    const type = now.image ? "init_image_updated" : "session_init_v2"
    if (!now.image) now.socket.addEventListener("close", correct)
    try {
      now.image = await Client.send(now.socket, file, { type, onProgress, onAcceptedLate, signal })
      set({ status: "open", image: now.image })
    } catch (error) {
      if (!now.image && !signal.aborted) now.socket.close()
      set({ status: "refused", error: error as Client.SendError })
    }
  }
  const cancel = () => (upload.current?.abort(), setState(held()))
  useEffect(() => () => session.current?.socket.close(), [])
  return { state, choose, cancel }
}
