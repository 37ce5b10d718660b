import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Layer from "effect/Layer"
import * as Server from "./server.js"

NodeRuntime.runMain(Layer.launch(Server.layer))
