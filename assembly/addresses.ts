/** What lies at fixed addresses, below the weights: see arena.ts for the rest. 0 is unused, so that it means "absent". */

/** Arena */
export const ARENA: usize = 64
/** The team's words, a cache line each: team.ts. */
export const TEAM: usize = 512
/** Vector constants: kernels/exp.ts. */
export const CONSTANTS: usize = 1024
