// Norms of heads, behind attention-head.wgsl: of one by itself, or with the factor that all of them have. The shader brings
// weightAt(i). Behind precise.wgsl.

const SPAN_HEAD: u32 = 1;
const SPAN_ALL: u32 = 2;
const SPAN_TURNED: u32 = 3;

// head ⊙ weight · factor, where the weights of the head begin at number `weight`.
fn scaleHead(n: u32, factor: f32, weight: u32, thread: u32) {
  for (var i = thread; i < n; i += LANES) { head[i] = precisely(head[i] * factor) * weightAt(weight + i); }
  workgroupBarrier();
}

// RMS norm of numbers from … of the head alone: four sums, then what is left over.
fn normHead(n: u32, eps: f32, weight: u32, thread: u32) {
  if (thread < 4) {
    var sum = 0f;
    for (var i = thread; i < (n & ~3u); i += 4) { sum += precisely(head[i] * head[i]); }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  for (var i = n & ~3u; i < n; i++) { sum += precisely(head[i] * head[i]); }
  workgroupBarrier();
  scaleHead(n, divided(1, rootOf(divided(sum, f32(n)) + eps)), weight, thread);
}
