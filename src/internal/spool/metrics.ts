/**
 * What operators see of the spools of this process: each figure is the sum over all of them.
 *
 * They are changed by differences and without the tags of whoever happens to run: what is added for one request is
 * taken off by another fiber, with other tags, and would leave both figures wrong.
 */
import * as Metric from "effect/Metric"

export const inFlightBytes = Metric.gauge("session_init_image_spool_in_flight_bytes", {
  description: "Bytes reserved for init images that are being persisted"
})

export const waiting = Metric.gauge("session_init_image_spool_waiting", {
  description: "Init images that wait for bytes in flight to be given back"
})

export const keptBytes = Metric.gauge("session_init_image_spool_kept_bytes", {
  description: "Bytes of the init images that are persisted and not yet removed"
})

export const keptFiles = Metric.gauge("session_init_image_spool_kept_files", {
  description: "Init images that are persisted and not yet removed"
})

export const sweptFiles = Metric.counter("session_init_image_spool_swept_files", {
  description: "Files of dead processes that were removed",
  incremental: true
})

export const add = (metric: Metric.Metric.Gauge<number> | Metric.Metric.Counter<number>, difference: number): void =>
  metric.unsafeModify(difference, [])
