/** Address of the OptionTable (abi.ts): the build puts its bytes here. */
export function optionTable(): usize {
  return memory.data<u8>([0])
}
