/** Which gta-edge this is; the build writes it in. */

declare const GTA_VERSION: string | undefined
declare const GTA_COMMIT: string | undefined

/** Undefined where the sources run as they are. */
export const version = typeof GTA_VERSION === 'string' ? GTA_VERSION : undefined

/** Commit of the sources, with "-dirty" behind it if they were changed since; undefined without git. */
export const commit = (typeof GTA_COMMIT === 'string' && GTA_COMMIT) || undefined
