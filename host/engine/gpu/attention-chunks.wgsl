// Chunks: pages that one workgroup of the sweep goes through by itself, before what it found is merged with what others did.
// They are cut by the page's number alone, short ones first: few pages are spread over many workgroups, and of many pages not
// too much is written in between. So a row has the same chunks, and the same bits, whatever else is in its step.
// host/engine/gpu/attention-tiles.ts has the same. Behind math.wgsl.

fn chunkOf(page: u32) -> u32 {
  if (page < 16) { return page; }
  if (page < 64) { return 16 + (page - 16) / 2; }
  if (page < 256) { return 40 + (page - 64) / 4; }
  return 88 + (page - 256) / 8;
}

fn firstPage(chunk: u32) -> u32 {
  if (chunk < 16) { return chunk; }
  if (chunk < 40) { return 16 + (chunk - 16) * 2; }
  if (chunk < 88) { return 64 + (chunk - 40) * 4; }
  return 256 + (chunk - 88) * 8;
}

// Tokens before the window of a row at `position`.
fn hiddenBefore(position: u32) -> u32 {
  let seen = position + 1;
  return select(0, seen - min(seen, WINDOW), WINDOW != 0);
}

// e^x of what a sum is multiplied with when its peak rises: 0 where there was none before.
fn factorOf(x: f32) -> f32 { return select(expOf(x), 0f, x < -87); }

// Below the scores of all tokens that are seen.
const UNSEEN: f32 = -3e38;
