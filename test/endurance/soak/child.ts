/** Runs the server and reports its resources to the parent process on request. */
import "../../../src/server/main.js"
import "./report.js"
