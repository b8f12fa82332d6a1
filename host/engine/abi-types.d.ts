/** The number types of assembly/abi.ts, which is AssemblyScript and TypeScript at once: here all of them are numbers. */
type u32 = number
type usize = number
type f32 = number
type f64 = number
