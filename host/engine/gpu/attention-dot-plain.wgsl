// Σ of four i8 × i8, where the language has no word for it.
fn bytesOf(a: u32) -> vec4<i32> { return vec4<i32>(bitcast<vec4<i32>>(vec4<u32>(a) << vec4<u32>(24, 16, 8, 0))) >> vec4<u32>(24); }
fn dot4(a: u32, b: u32) -> i32 { return dot(bytesOf(a), bytesOf(b)); }
