// Numbers that are rounded where they are written. WGSL lets compilers round a · b + c once, take common factors out of sums and
// bring constants together, where the CPU rounds after each operation; the last digit that differs puts a number on the other
// side of an edge where it is rounded to an integer, and all that follows is another rounding of the model. A zero that no
// compiler knows, or-ed into the bits of a product, keeps it apart from the sum that it goes into. It costs one operation on integers.
//
// Goes before a text that calls these, and only there: gpu.ts binds the zero.

@group(0) @binding(15) var<uniform> unknownZero: u32;

fn precisely(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) | unknownZero); }

fn precisely4(x: vec4f) -> vec4f { return bitcast<vec4f>(bitcast<vec4u>(x) | vec4u(unknownZero)); }
