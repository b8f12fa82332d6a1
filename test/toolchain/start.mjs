/** npm start: install, build, and tell a story. `npm start -- Once there was a robot` passes the words as the prompt. */
import { spawnSync } from 'node:child_process'
import { root } from './install.mjs'

const { build } = await import('../../build.mjs')
await build()
const words = process.argv.slice(2).join(' ')
const prompt = words ? [`--prompt=${words}`] : []
// A demonstration shows everything in one place: statistics go where the story goes. Nothing is read: a pipe that CI leaves
// open would be waited for.
const story = spawnSync('node', [`${root}dist/gta.mjs`, 'run', ...prompt], { stdio: ['ignore', 'inherit', 1] })
process.exitCode = story.status ?? 1
