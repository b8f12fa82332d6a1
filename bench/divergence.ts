/**
 * `node bench/divergence.ts`: what an int8 cache and q8 weights cost each kind and family, as a table in Markdown. Small models
 * with random weights of sensible scale, three draws of each; of each family the largest mean divergence among its models.
 */
import { type Divergences, divergences, smallConfigs } from '../test/fixtures/divergence.ts'
import { writeRandomModel } from '../test/fixtures/random-model.ts'

const digits = (value: number) => value.toFixed(value < 0.001 ? 5 : 4)

console.log('| kind or family | models | int8 cache | q8 weights | both |\n|---|---|---|---|---|')
for (const [name, configs] of await smallConfigs()) {
  const found: Divergences[][] = []
  for (const config of configs) {
    const draws: Divergences[] = []
    for (const seed of [1, 2, 3]) draws.push(await divergences(writeRandomModel(config, { seed }), config))
    found.push(draws)
  }
  const mean = (draws: Divergences[], part: keyof Divergences) =>
    draws.reduce((sum, draw) => sum + draw[part], 0) / draws.length
  const most = (part: keyof Divergences) => digits(Math.max(...found.map((draws) => mean(draws, part))))
  console.log(`| ${name} | ${configs.length} | ${most('int8')} | ${most('q8')} | ${most('both')} |`)
}
