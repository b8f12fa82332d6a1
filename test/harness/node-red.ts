/** A real Node-RED with these nodes and its own folder, driven through its admin API as the editor does. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporary } from '../fixtures/checkpoints.ts'
import { limit, limitNote } from './limits.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface NodeOfFlow {
  id: string
  type: string
  [property: string]: unknown
}

/** A port that was free a moment ago, for programs that take no 0. */
export async function freePort(): Promise<number> {
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as { port: number }
  await new Promise((resolve) => free.close(resolve))
  return port
}

function npm(args: string[], cwd: string): string {
  const ended = spawnSync('npm', args, { cwd, encoding: 'utf8', timeout: limit(60) })
  if (ended.status !== 0) throw new Error(`npm ${args.join(' ')} failed: ${ended.stderr}${limitNote(ended, 60)}`)
  return ended.stdout.trim()
}

export class NodeRed {
  readonly url: string
  /** What it says in its terminal. */
  log = ''
  private readonly child: ChildProcess

  private constructor(url: string, child: ChildProcess) {
    this.url = url
    this.child = child
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (text) => {
        this.log += text
      })
  }

  /** Installs the nodes' package as their README does, and starts. */
  static async start(): Promise<NodeRed> {
    const userDir = temporary()
    writeFileSync(join(userDir, 'package.json'), '{ "private": true }')
    const packed = npm(['pack', '--silent', '--pack-destination', userDir, join(root, 'dist/node-red')], userDir)
    npm(['install', '--offline', '--no-audit', '--no-fund', `./${packed}`], userDir)
    mkdirSync(join(userDir, 'node_modules'), { recursive: true })
    symlinkSync(root, join(userDir, 'node_modules/gta-edge'))
    const port = await freePort()
    const settings = {
      ...{ uiPort: port, uiHost: '127.0.0.1', credentialSecret: 'of a test', flowFile: 'flows.json' },
      ...{ telemetry: { enabled: false, updateNotification: false }, editorTheme: { tours: false } },
      logging: { console: { level: 'info' } },
    }
    writeFileSync(join(userDir, 'settings.js'), `module.exports = ${JSON.stringify(settings)}`)
    const program = join(root, 'test/toolchain/clients/node_modules/node-red/red.js')
    const child = spawn(process.execPath, [program, '--userDir', userDir], {
      cwd: userDir,
      env: { ...process.env, XDG_CACHE_HOME: userDir },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const red = new NodeRed(`http://127.0.0.1:${port}`, child)
    await red.says(/Started flows/).catch((error) => {
      child.kill('SIGKILL')
      throw error
    })
    return red
  }

  get pid(): number {
    return this.child.pid as number
  }

  /** Threads of its process: the engine's workers are among them. */
  get threads(): number {
    return readdirSync(`/proc/${this.pid}/task`).length
  }

  /** Waits for a line behind the first `from` characters; fails if it ends before. */
  private async says(pattern: RegExp, from = 0): Promise<void> {
    while (!pattern.test(this.log.slice(from))) {
      if (this.child.exitCode !== null) throw new Error(`Node-RED ended with ${this.child.exitCode}: ${this.log}`)
      await once(this.child.stdout as NodeJS.ReadableStream, 'data', { signal: AbortSignal.timeout(limit(60)) })
    }
  }

  async admin(path: string, init: RequestInit = {}): Promise<unknown> {
    const headers = { accept: 'application/json', 'content-type': 'application/json', ...init.headers }
    const response = await fetch(`${this.url}${path}`, { ...init, headers })
    const text = await response.text()
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }

  /** Deploys all flows; resolves when those before are stopped and these run. */
  async deploy(flows: readonly NodeOfFlow[], type = 'full'): Promise<void> {
    const from = this.log.length
    await this.admin('/flows', {
      method: 'POST',
      headers: { 'Node-RED-Deployment-Type': type },
      body: JSON.stringify(flows),
    })
    await this.says(/Started (?:flows|modified)/, from)
  }

  /** The exit code. */
  async end(): Promise<number | null> {
    const closed = once(this.child, 'close')
    this.child.kill('SIGTERM')
    return (await closed)[0] as number | null
  }
}
