/**
 * The names in `tokenizer.ggml.pre`: how a byte-level vocabulary cuts text before BPE. llama.cpp knows them (llama-vocab.cpp), a
 * tokenizer.json has the expressions themselves; those here are of the models' own tokenizer.json where llama.cpp has
 * had to write them otherwise.
 */
import { gpt2Pattern, gpt4oPattern, gpt4Pattern } from '../patterns.ts'

export interface Pre {
  /** Each cuts the pieces that the one before it left, into what matches and what lies between. */
  splits: readonly string[]
  /** A piece that is a token is not merged. */
  ignoresMerges?: boolean
  /** A text has a begin token unless the file says otherwise. */
  begins?: boolean
  isNfc?: boolean
}

const gpt2: Pre = { splits: [gpt2Pattern] }
const digits: Pre = { splits: ['\\p{N}', gpt2Pattern] }
const llama3: Pre = { splits: [gpt4Pattern('{1,3}')], ignoresMerges: true, begins: true }
const chatGlm: Pre = { splits: [gpt4Pattern('{1,3}')] }
const qwen2: Pre = { splits: [gpt4Pattern('')] }
const qwen2Nfc: Pre = { ...qwen2, isNfc: true }
const gpt4o: Pre = { splits: [gpt4oPattern('{1,3}')] }
const poro: Pre = { splits: [' ?[^(\\s|.,!?…。，、।۔،)]+'] }
const bailing: Pre = {
  splits: [
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
  ],
}

/** Chinese, Japanese and Korean, as DeepSeek bounds them. */
const ideographs = '[一-龥ࠀ-一가-퟿]+'
const deepseekCoder: Pre = { splits: ['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', ideographs, '\\p{N}'] }
/** Letters in capitals and small ones of the scripts that DeepSeek LLM lists: not of Georgian, of Armenian the capitals. */
const casedLetters = '(?:(?![ՠ-ֈჇჍა-ჿᲀ-ᲊⴀ-ⴭꞐ-ꟜꟵ-ꟺꬰ-ꭨ𐕰-𐖼𐵐-𐶅𖹀-𖻓𝐀-𝟋𝼀-𝼪])[\\p{Lu}\\p{Ll}\\p{Lt}ʕ])'
const deepseekLlm: Pre = {
  splits: ['[\\r\\n]', `\\s?${casedLetters}+`, '\\s?[!-/:-~！-／：-～‘-‟　-。]+', '\\s+$', ideographs, '\\p{N}+'],
}
const asciiPunctuation = '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]'
const deepseek3: Pre = {
  splits: [
    '\\p{N}{1,3}',
    '[一-龥぀-ゟ゠-ヿ]+',
    `${asciiPunctuation}[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  ],
}
const youtu: Pre = {
  splits: ['[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+', gpt4oPattern('')],
  ignoresMerges: true,
}
const symbols = '\\p{P}\\$\\+<=>\\^~\\|'
const threeDigits = '[0-9][0-9][0-9]'

/** What a file without a name is read as. */
export const DEFAULT_PRE = 'default'

const named: [pre: Pre, ...names: string[]][] = [
  [{ splits: [`[${symbols}]+`, gpt2Pattern, '\\p{N}+', threeDigits] }, DEFAULT_PRE],
  [gpt2, 'gpt-2', 'phi-2', 'mpt', 'olmo', 'jais', 'trillion', 'granite-docling', 'exaone4'],
  [gpt2, 'jina-es', 'jina-de', 'jina-v2-es', 'jina-v2-de', 'gigachat', 'a.x-4.0', 'mellum', 'modern-bert'],
  [digits, 'smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b', 'mellum2'],
  [llama3, 'llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2', 'jina-v5-nano'],
  [chatGlm, 'smaug-bpe', 'dbrx', 'glm4', 'chatglm-bpe'],
  [qwen2Nfc, 'qwen2', 'deepseek-r1-qwen'],
  [qwen2, 'kormo', 'f2llmv2', 'megrez', 'stablelm2', 'hunyuan', 'solar-open', 'grok-2'],
  [{ splits: [gpt4Pattern('', '\\p{M}')], isNfc: true }, 'qwen35'],
  [{ splits: ['\\p{N}{1,3}', gpt4Pattern('+')], ignoresMerges: true }, 'minicpm5'],
  [{ splits: [gpt4oPattern('', false)], ignoresMerges: true, begins: true }, 'tekken'],
  [gpt4o, 'gpt-4o', 'llama4', 'kanana2', 'talkie', 'minimax-m2'],
  [deepseekLlm, 'deepseek-llm'],
  [deepseekCoder, 'deepseek-coder'],
  [deepseek3, 'deepseek-v3', 'hunyuan-dense', 'joyai-llm', 'hy_v4'],
  [youtu, 'youtu'],
  [{ splits: [`[${symbols}\`]+`, gpt2Pattern, threeDigits] }, 'falcon'],
  [poro, 'poro-chat', 'bloom', 'gpt3-finnish'],
  [{ splits: [...poro.splits, '\\p{N}'] }, 'viking'],
  [bailing, 'bailingmoe', 'bailingmoe2', 'llada-moe'],
]

export const pres: ReadonlyMap<string, Pre> = new Map(
  named.flatMap(([pre, ...names]) => names.map((name) => [name, pre] as const)),
)

/** What cuts text in a tokenizer.json that does the same. */
export function preTokenizerOf({ splits }: Pre): object {
  const plain = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true }
  // As the models' own files say it, which gta.wasm knows.
  if (splits === gpt2.splits) return { ...plain, use_regex: true }
  if (splits === digits.splits)
    return sequence([
      { type: 'Digits', individual_digits: true },
      { ...plain, use_regex: true },
    ])
  const steps = splits.map((split) => ({
    type: 'Split',
    pattern: { Regex: split },
    behavior: 'Isolated',
    invert: false,
  }))
  return sequence([...steps, { ...plain, use_regex: false }])
}

const sequence = (pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers })
