import * as Server from "./server.js"
import * as shutdown from "./shutdown.js"

shutdown.run(Server.layer)
