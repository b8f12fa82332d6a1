/** The process that has a GPU: computes the cases of a job, and answers each with a line. A driver that crashes takes it along. */
import { join } from 'node:path'
import { convert } from '../../host/index.ts'
import type { Answer, Figures, Job } from './job.ts'
import { models } from './models.ts'
import { openChromium } from './on-chromium.ts'
import { openNode } from './on-node.ts'

const job = JSON.parse(process.argv[2] as string) as Job
const place = await (job.adapter === 'chromium' ? openChromium() : openNode())
for (const { model, type } of job.cases) {
  const started = performance.now()
  const found = models.find(({ name }) => name === model)
  if (!found) throw new Error(`there is no model "${model}"`)
  const path = join(job.folder, `${model}-${type}.gta`)
  await convert(found.folder, path, { type, force: true })
  let result: Figures | { failed: string }
  try {
    const figures = await place.run(path, type, found.texts)
    result = { ...figures, engine: `${figures.engine} (${place.program})` }
  } catch (error) {
    result = { failed: (error as Error).message }
  }
  const answer: Answer = { model, type, seconds: (performance.now() - started) / 1000, ...result }
  console.log(JSON.stringify(answer))
}
await place.close()
// Dawn's threads would keep the process.
process.exit()
