/** Files that people have in place of the one that is meant: told by their first bytes, refused by their name. */
import { errors } from '../errors.ts'

/** Beginnings in small letters, without the blanks before them. */
const kinds: [begins: string[], what: string, advice: string][] = [
  [['gguf'], 'a GGUF file', 'give it as the model itself, its name may end in anything'],
  [
    ['version https://git-lfs'],
    'a Git LFS pointer, a few lines in place of the file',
    'run "git lfs pull" where it was cloned, or download the file itself',
  ],
  [['<!doctype', '<html', '<?xml'], 'an HTML page', 'use the address of the file itself, not that of a page about it'],
  [['pk\x03\x04'], 'a ZIP archive, as PyTorch writes .bin and .pth', 'give the weights as safetensors'],
  [['\x1f\x8b', '\xfd7zxz', '\x28\xb5\x2f\xfd', 'bzh'], 'a compressed file', 'unpack it first'],
  [['\x80\x02', '\x80\x03', '\x80\x04', '\x80\x05'], 'a Python pickle', 'give the weights as safetensors'],
]

/** Throws NOT_A_MODEL if a file that must be `expected` begins as one of another kind; eight bytes are enough to tell. */
export function refuseOtherKind(path: string, begin: Uint8Array, expected: string): void {
  const text = String.fromCharCode(...begin.subarray(0, 8))
    .trimStart()
    .toLowerCase()
  const isOne = (begins: string) => text.startsWith(begins) || (text.length >= 4 && begins.startsWith(text))
  const kind = kinds.find(([begins]) => begins.some(isOne))
  if (kind) throw errors.otherKind(path, expected, kind[1], kind[2])
}
