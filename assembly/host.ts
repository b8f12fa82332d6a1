/** What the host gives to every instance, besides the memory. */

/** This instance's rank in the team: 0 is the one that reports. */
export declare const rank: u32

/** Milliseconds of a clock; called only while a profile is taken. */
export declare function now(): f64
