// What every shader may read of a step: the structures of StepBuffers (operations.ts). Goes before the shader's own text.

struct Sizes { rows: u32, logits: u32, pages: u32, unused: u32 }

// Row of assembly/abi.ts, field by field.
struct Row {
  conversation: u32,
  position: u32,
  token: u32,
  wantsLogits: u32,
  temperature: f32,
  topK: u32,
  topP: f32,
  minP: f32,
  repeatPenalty: f32,
  penaltyWindow: u32,
  seedLow: u32,
  seedHigh: u32,
  dropped: u32,
  isMasked: u32,
  biases: u32,
  presencePenalty: f32,
  frequencyPenalty: f32,
  generatedFrom: u32,
  wantsState: u32,
}
