/**
 * A kit for the tests of code that takes init images: pictures, every refusal, and a file system in memory.
 *
 * Needs no test runner. Made for tests only: a server does not import it.
 *
 * @since 0.1.0
 */

/**
 * A file system in memory for tests, which reports the files left and removed, and fails at chosen operations.
 *
 * @since 0.1.0
 */
export * as InitImageTest from "./InitImageTest.js"

/**
 * Small pictures made in memory, one of each refusal, and arbitraries of both.
 *
 * @since 0.1.0
 */
export * as TestImages from "./TestImages.js"
