/** Every kind and family: the files of kinds/ and families/. The build writes this list; it is not edited by hand. */
import { family as ernie4_5 } from './families/ernie4-5.ts'
import { family as exaone4 } from './families/exaone4.ts'
import { family as gemma2 } from './families/gemma2.ts'
import { family as gemma3 } from './families/gemma3.ts'
import { family as gpt_neox } from './families/gpt-neox.ts'
import { family as gpt2 } from './families/gpt2.ts'
import { family as granite } from './families/granite.ts'
import { family as hunyuan } from './families/hunyuan.ts'
import { family as lfm2 } from './families/lfm2.ts'
import { family as minicpm } from './families/minicpm.ts'
import { family as minicpm3 } from './families/minicpm3.ts'
import { family as ministral3 } from './families/ministral3.ts'
import { family as mistral } from './families/mistral.ts'
import { family as mobilellm } from './families/mobilellm.ts'
import { family as olmo2 } from './families/olmo2.ts'
import { family as phi3 } from './families/phi3.ts'
import { family as plm } from './families/plm.ts'
import { family as qwen3 } from './families/qwen3.ts'
import { family as qwen35 } from './families/qwen35.ts'
import { family as smollm3 } from './families/smollm3.ts'
import { family as youtu } from './families/youtu.ts'
import type { Family } from './family.ts'
import { family as gha } from './kinds/gha.ts'
import { family as gla } from './kinds/gla.ts'
import { family as gqa } from './kinds/gqa.ts'
import { family as gta } from './kinds/gta.ts'
import { family as gva } from './kinds/gva.ts'
import { family as mla } from './kinds/mla.ts'
import { family as tied } from './kinds/tied.ts'

// biome-ignore format: written by a program
export const families: readonly Family[] = [
  gha,
  gla,
  gqa,
  gta,
  gva,
  mla,
  tied,
  ernie4_5,
  exaone4,
  gemma2,
  gemma3,
  gpt_neox,
  gpt2,
  granite,
  hunyuan,
  lfm2,
  minicpm,
  minicpm3,
  ministral3,
  mistral,
  mobilellm,
  olmo2,
  phi3,
  plm,
  qwen3,
  qwen35,
  smollm3,
  youtu,
]
