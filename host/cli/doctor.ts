/** gta doctor: what this machine is, and which engine it gets. */
import { megabytes } from '../errors.ts'
import { type Diagnosis, diagnose } from '../tools/diagnose.ts'
import { type Arguments, type Command, common } from './options.ts'
import { printJson } from './terminal.ts'

export const doctor: Command = {
  usage: 'doctor [--json]',
  options: { ...common },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(0)
  const found = await diagnose()
  if (args.flag('json')) printJson('doctor', found)
  else process.stdout.write(`${describe(found).join('\n')}\n`)
  if (!found.chosen) process.exitCode = 1
}

function describe(found: Diagnosis): string[] {
  const unknown = 'the system does not tell'
  const rows: [string, string][] = [
    ['node', `${found.node} on ${found.platform}`],
    ['cpu', `${found.cpu}, ${found.cores} cores${found.board ? ` (${found.board})` : ''}`],
    ['features', found.cpuFeatures.join(' ') || unknown],
    ['memory', `${megabytes(found.totalMemory)}, ${megabytes(found.freeMemory)} free`],
    ['page size', found.pageSize ? `${found.pageSize} bytes` : unknown],
    ['governor', found.governor ?? unknown],
    ['relaxed SIMD', found.relaxedSimd ? 'yes' : 'no: Node 22 and later have it'],
    ['threads', `measured when a model is first loaded, remembered in ${found.threadsFile}`],
    ['engine', `${found.chosen ?? 'none'}: ${found.reason}`],
  ]
  return rows.map(([name, value]) => `${name.padEnd(14)}${value}`)
}
