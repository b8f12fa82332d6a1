// What shaders of mixers with a state read of a step, and where the state of a row lies. Behind step.wgsl.

struct Layer {
  // Numbers before the first row of the projection, and from one to the next; of the result.
  offset: u32,
  stride: u32,
  resultStride: u32,
  // Words before the vectors that a shader reads.
  first: u32,
  second: u32,
  // Numbers before this layer's page kind in places.
  places: u32,
  tableBlocks: u32,
  // From one row of what the convolution made to the next.
  convolvedStride: u32,
}

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<uniform> sizes: Sizes;
@group(0) @binding(2) var<storage, read> rows: array<Row>;
@group(0) @binding(3) var<storage, read> tables: array<u32>;
@group(0) @binding(4) var<storage, read> places: array<u32>;

const PAGE_TOKENS: u32 = 64;
const NO_PAGE: u32 = 0xffffffff;

// Words of a layer of a page.
override LAYER_WORDS: u32;

// The place of the page that holds a position.
fn pageOf(conversation: u32, position: u32) -> u32 {
  return places[layer.places + tables[conversation * layer.tableBlocks + position / PAGE_TOKENS]];
}
