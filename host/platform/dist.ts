/** Where the build is: sources run from host/, the bundle from dist/ itself. */
export const distUrl = new URL(import.meta.url.endsWith('.ts') ? '../../dist/' : './', import.meta.url)
