/** Every family's goldens: conversations beside each other, forked, saved and restored have the logits that they have alone. */
import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import { checkConversations } from '../fixtures/conversations-alike.ts'
import { golden } from '../fixtures/goldens.ts'

for (const name of readdirSync(golden('families')))
  test(`${name}: three conversations at once, a fork, a session, as alone`, async () => {
    await checkConversations(golden(`families/${name}`), { type: 'f32' })
  })

test.run()
