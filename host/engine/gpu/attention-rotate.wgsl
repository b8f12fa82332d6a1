// RoPE in half layout, behind precise.wgsl and attention-head.wgsl. The shader brings angles: array<f32>.

// Rotates 2 · pairs numbers from number `at` on; angles: cos of each pair from `angle` on, then sin.
fn rotateHead(at: u32, pairs: u32, angle: u32, thread: u32) {
  for (var i = thread; i < pairs; i += LANES) {
    let c = angles[angle + i];
    let s = angles[angle + pairs + i];
    let u = head[at + i];
    let v = head[at + pairs + i];
    head[at + i] = precisely(u * c) - precisely(v * s);
    head[at + pairs + i] = precisely(v * c) + precisely(u * s);
  }
  workgroupBarrier();
}
