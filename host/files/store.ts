/** The tensors of a checkpoint by their Hugging Face names, wherever they lie. */
export interface TensorStore {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** Numbers `from` … `from + count` of a tensor, as f32. */
  read(tensor: string, from: number, count: number): Promise<Float32Array>
  close(): Promise<void>
}

export interface StoredTensor {
  shape: readonly number[]
  /** Name of its type, and whether its numbers can be read. */
  type: string
  isReadable: boolean
}
