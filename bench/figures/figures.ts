/**
 * Figures and tables of the papers, computed by the analyzer: `npm run figures` writes them here, a test keeps them fresh.
 *
 *     figure 4, 12 to 15   arXiv 2506.17286: times of GTA-1B and GQA-1B by LLM-Viewer's formulas on five devices
 *     table 4, table 5     the same paper: costs of the attention kinds, sizes of the models
 *     intensity            after arXiv 2505.21487: attention of one decoded token under the roof of an H100
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { amount, exactly } from '../../host/tools/analyze/amounts.ts'
import { Analysis } from '../../host/tools/analyze/analyze.ts'
import { findHardware } from '../../host/tools/analyze/hardware.ts'
import { linePlot } from '../../host/tools/analyze/plot/lines.ts'
import { roofPlot } from '../../host/tools/analyze/plot/roof.ts'
import type { Stage } from '../../host/tools/analyze/walk.ts'
import { configs, cost, describe } from '../../models/index.ts'
import { readArguments } from '../arguments.ts'
import { type Shape, shapesOfTable4, variantsOfIntensity } from './shapes.ts'

const lengths = [128, 256, 512, 1024, 2048, 4096]
const batches = [1, 8, 32]
const bits = { weights: 16, activations: 16, cache: 16 }

/** The devices that the paper's tool has numbers for; which of 12 to 15 is which does not matter to the numbers. */
const devices: [string, string][] = [
  ['figure-4', 'nvidia_H100'],
  ['figure-12', 'nvidia_A100_40G'],
  ['figure-13', 'nvidia_A100_80G'],
  ['figure-14', 'nvidia_H100_PCIe'],
  ['figure-15', 'nvidia_A800_80G_SXM'],
]

/** Every file of this folder that is made, by its name. */
export function figures(): Map<string, string> {
  const files = new Map<string, string>()
  for (const [name, device] of devices)
    for (const stage of ['prefill', 'decode'] as const) files.set(`${name}-${stage}.svg`, timesOn(device, stage))
  files.set('intensity.svg', intensity())
  files.set('tables.md', tables())
  return files
}

function analysisOf(model: string, device: string): Analysis {
  return new Analysis(describe(configs[model]), findHardware(device), { mode: 'llm-viewer', widths: bits })
}

function timesOn(device: string, stage: Stage): string {
  const series = batches.flatMap((batch) =>
    ['gta-1b', 'gqa-1b'].map((model) => {
      const analysis = analysisOf(model, device)
      const points = lengths.map((x) => ({ x, y: 1000 * analysis.seconds(stage, batch, x) }))
      return { name: `${model}, batch ${batch}`, points }
    }),
  )
  return linePlot({
    title: `${findHardware(device).title}: ${stage} by LLM-Viewer’s formulas`,
    description: `GTA-1B against GQA-1B, 16 bits, batches ${batches.join(', ')}`,
    x: { label: 'tokens', isLog: true, ticks: lengths, format: exactly },
    y: { label: 'milliseconds', isLog: stage === 'prefill', format: exactly },
    series,
    width: 560,
    height: 420,
  })
}

/** Attention alone, one token of each of 32 conversations behind 8192 others. */
function intensity(): string {
  const device = findHardware('nvidia_H100')
  const shapes = variantsOfIntensity
  const dots = shapes.map(({ name, config }, i) => {
    const analysis = new Analysis(describe(config), device, { widths: bits, flash: true })
    const pass = analysis.pass('decode', 32, 8192)
    const found = pass.operations.find(
      (operation) => operation.name === 'fused_attention',
    ) as (typeof pass.operations)[number]
    const title = `${name}: ${found.intensity.toFixed(1)} operations per byte`
    return {
      x: found.intensity,
      y: found.performance,
      title,
      label: `${name}: ${found.intensity.toFixed(1)}`,
      group: i,
      kind: i,
    }
  })
  return roofPlot({
    title: 'Arithmetic intensity of decoding',
    description: `One token behind 8192, 16 bits, NVIDIA H100: ${dots.map(({ title }) => title).join(', ')}`,
    slopes: [{ name: amount(device.bandwidth.peak.value, 'B/s', 3), value: device.bandwidth.peak.value }],
    ceilings: [
      { name: `FP16 ${amount(device.peak.FP16?.value ?? 0, 'OP/s', 3)}`, value: device.peak.FP16?.value ?? 0 },
    ],
    dots,
    groups: shapes.map(({ name }) => name),
    kinds: [],
    x: { label: 'operations per byte', format: (n) => String(n) },
    y: { label: 'operations per second', format: (n) => amount(n, '', 3) },
    width: 560,
  })
}

function tables(): string {
  return [
    '<!-- Made by npm run figures. -->',
    '# What the papers print, counted here',
    '',
    '## Figure 4 and 12 to 15: GQA-1B over GTA-1B',
    '',
    'How many times longer GQA-1B takes, by LLM-Viewer’s formulas with all of their defects (16 bits, score matrices written).',
    '',
    ratioTable(),
    '',
    '## Table 4: what a kind of attention costs',
    '',
    'At the shape of the 1B models (H 1280, 20 heads of 64). Multiply-adds per token in linear maps, and per pair of tokens; numbers',
    'in the cache per token and layer. *Paper* is its formula, *here* what this project counts; they differ where a note says why.',
    '',
    table4(),
    '',
    '## Table 5: sizes',
    '',
    'The paper prints parameters / 2^20.',
    '',
    table5(),
    '',
  ].join('\n')
}

function markdown(names: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  return [line(names), line(names.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

function ratioTable(): string {
  const rows = devices.flatMap(([figure, device]) =>
    (['prefill', 'decode'] as const).flatMap((stage) =>
      batches.map((batch) => {
        const [gqa, gta] = [analysisOf('gqa-1b', device), analysisOf('gta-1b', device)]
        const ratios = lengths.map((length) =>
          (gqa.seconds(stage, batch, length) / gta.seconds(stage, batch, length)).toFixed(2),
        )
        return [`${figure.replace('-', ' ')}: ${device}`, stage, String(batch), ...ratios]
      }),
    ),
  )
  return markdown(['device', 'stage', 'batch', ...lengths.map(exactly)], rows)
}

function table4(): string {
  const rows = shapesOfTable4.map(({ name, config, paper, note }: Shape) => {
    const counted = cost(describe(config))
    const pair = (printed: number, here: number) =>
      printed === here ? here.toLocaleString('en') : `${printed.toLocaleString('en')} / ${here.toLocaleString('en')}`
    return [
      name,
      pair(paper.cache, counted.cacheElements),
      pair(paper.pair, counted.attentionPairMacs),
      pair(paper.linear, counted.attentionLinearMacs),
      note,
    ]
  })
  return markdown(['kind', 'cache (paper / here)', 'per pair', 'linear', 'note'], rows)
}

function table5(): string {
  const rows = Object.entries(configs).map(([name, config]) => {
    const { parameters, cacheElements } = cost(describe(config))
    return [name, parameters.toLocaleString('en'), (parameters / 2 ** 20).toFixed(2), String(cacheElements)]
  })
  return markdown(['model', 'parameters', '/ 2^20', 'cache numbers per token and layer'], rows)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  readArguments({ command: 'npm run figures', about: 'Writes the figures and tables of the papers to bench/figures.' })
  for (const [name, content] of figures()) writeFileSync(new URL(name, import.meta.url), content)
}
