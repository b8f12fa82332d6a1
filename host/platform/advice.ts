/** Which browsers have what the engine needs. */
export const advice = 'use Chrome or Edge 91, Firefox 89, Safari 16.4, or a later one'
