// What the programs of this folder share: their arguments, and a verdict for each line.
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

// fetch takes the authority of `--ca` from NODE_EXTRA_CA_CERTS, which has to be there before node
// starts: ../run sets it.
export function asked() {
  const text = { type: 'string' }
  const options = { issuer: text, audience: text, ca: text, algorithm: { ...text, default: 'ES256' } }
  return parseArgs({ options }).values
}

// Prints a verdict for each line of stdin. A token is good unless `verify` throws.
export async function judge(verify) {
  for await (const line of createInterface({ input: process.stdin })) {
    let verdict
    try {
      verdict = { accepted: true, claims: await verify(line.trim()) }
    } catch (why) {
      verdict = { accepted: false, error: `${why.code ?? why.name}: ${why.message}` }
    }
    process.stdout.write(`${JSON.stringify(verdict)}\n`)
  }
}
