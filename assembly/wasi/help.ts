/** What --help prints: the options, with the words of `gta run --help`. */
import { flush, STDOUT, text, writeTo } from './output'

export function printHelp(): void {
  writeTo(STDOUT)
  line('gta.wasm: write on from a prompt, under an engine of WebAssembly with WASI')
  line('')
  line('Usage: gta.wasm MODEL.gta -p PROMPT [options]')
  line('')
  line('  -m, --model MODEL       a .gta file, in a directory that the engine was told to give')
  line('  -p, --prompt TEXT       the prompt')
  line('  -f, --file FILE         read the prompt from a file')
  line('      --tokens 1,5,9      token ids, taken as they are: nothing is added')
  line('  -n, --n-predict N       tokens to write at most (default: until the text ends or the context is full)')
  line("  -c, --ctx-size N        context in tokens (default: the model's, at most 4096)")
  line('      --cache f32|int8    element type of the KV cache (default f32 with f32 weights, else int8)')
  line('  -s, --seed N            same seed, same text (default: another one each time)')
  line(
    '      --temp T            temperature; 0: always the most likely token (default: what the model recommends, else 0.8)',
  )
  line('      --top-k K           choose among the K most likely tokens; 0: all (else 40)')
  line('      --top-p P           choose among the tokens that hold this share of probability (else 0.95)')
  line('      --min-p P           drop tokens less likely than this, in relation to the best (else 0.05)')
  line('      --repeat-penalty X  make tokens of the recent text less likely; 1: off (else 1)')
  line('      --repeat-last-n N   how many tokens the penalty looks at (default 64)')
  line('      --stop-eos          with --tokens: end at a token that ends a text')
  line('      --ignore-eos        with a text prompt: go on after it')
  line('      --version           the version')
  line('  -h, --help              this text')
}

function line(value: string): void {
  text(value)
  text('\n')
  flush()
}
