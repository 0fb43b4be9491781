// Kurento's own client, unchanged, at a server that wants a token.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { it } from 'node:test';
import { startMediaServer } from './start.mjs';

const kurento = createRequire(import.meta.url)('kurento-client');
const TOKEN = 'a-token-that-is-only-of-this-test';

it('enters with the token in its URL', async () => {
  const kms = await startMediaServer({ env: { KMS_ACCESS_TOKENS: TOKEN } });
  try {
    const client = await kurento(`${kms.url}?access_token=${TOKEN}`);
    const pipeline = await client.create('MediaPipeline');
    const endpoint = await pipeline.create('WebRtcEndpoint');
    await endpoint.connect(endpoint);
    assert.match(await endpoint.generateOffer(), /^v=0/);
    client.close();
  } finally {
    await kms.stop();
  }
});
