/**
 * Twenty prompts that every platform must continue alike: short and long, of one letter or of blanks alone, punctuation,
 * and scripts of which the stories models know only bytes. The second of every four is the short list for slow platforms;
 * the long prompt is not in it.
 */
export const prompts = [
  'Once upon a time',
  'The fox said to the hare,',
  'Lily had a red ball. One day,',
  '"Where are you going?" asked the old man.',
  // Longer than two pages of the cache.
  `${'A small boat sailed on the sea. The wind blew, and the waves were high. '.repeat(8)}The captain said,`,
  'Far away, on top of a hill, there was a house',
  'It was raining, and Tom could not go out.',
  'Mum said: "Don\'t touch that!"',
  ' ',
  'THE END',
  '  two blanks,\ta tab\nand a line\n\n',
  'Bärbel ißt Äpfel; él comió 3 manzanas.',
  '日本語のお話: むかしむかし',
  '👩‍👩‍👧‍👦 went to the zoo 🦁!',
  '1, 2, 3, 4',
  "It's they're I'll we'd",
  'שלום عالم',
  '...',
  'Once there was a robot. Its name was R2',
  'a',
]
