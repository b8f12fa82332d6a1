/** kernels.test.ts on the relaxed build: the same integers from other instructions. */
process.env.GTA_TEST_BUILD = 'debug-relaxed'
await import('./kernels.test.ts')
