// The snippet of docs/verifying.md, as it stands: `verify` of snippet.mjs in the folder that is named.
import { pathToFileURL } from 'node:url'

import { judge } from './verdict.mjs'

const { verify } = await import(pathToFileURL(`${process.argv[2]}/snippet.mjs`))

await judge((token) => verify(token, process.env.SCOPE))
