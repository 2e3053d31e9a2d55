// What people do with the official client for Node, as one JSON object: node openai_sdk.mjs URL SLOW_URL
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.CLIENTS, "package.json"));
const { default: OpenAI } = require("openai");
const [url, slowUrl] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const model = "scripted";
const off = { rerank: { method: "off" } };
const messages = [{ role: "user", content: "hello" }];
const said = {};

const plain = await client.completions.create({ model, prompt: "hello", temperature: 0, ...off });
said.plain = plain.choices[0].text;
said.usage = plain.usage.completion_tokens;

const best = await client.completions.create({ model, prompt: "hello", best_of: 3, n: 2 });
said.best = best.choices.map((choice) => choice.text).length;
said.method = best.rerank.method;

const hole = await client.completions.create({ model, prompt: "def f(x):", suffix: "\n    return y\n" });
said.hole = hole.choices[0].text;

const chat = await client.chat.completions.create({ model, messages, ...off });
said.chat = chat.choices[0].message.content;
said.fingerprint = chat.system_fingerprint;

said.stream = "";
const stream = await client.chat.completions.create({
  model, messages, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  said.stream += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) said.streamUsage = chunk.usage.total_tokens;
}

try {
  await client.completions.create({ model, prompt: "hello", frequency_penalty: 1 });
} catch (error) {
  said.refused = [error.constructor.name, error.param];
}

// Each try is given up long before the answer is there; all of them join one run.
const hasty = new OpenAI({ baseURL: `${slowUrl}/v1`, apiKey: "none", maxRetries: 6, timeout: 700 });
const slow = await hasty.completions.create(
  { model, prompt: "slow", ...off },
  { headers: { "Idempotency-Key": "node" } },
);
said.slow = slow.choices[0].text.length;

const gone = new AbortController();
const endless = await new OpenAI({ baseURL: `${slowUrl}/v1`, apiKey: "none" }).completions.create(
  { model, prompt: "endless", max_tokens: 5000, stream: true },
  { signal: gone.signal },
);
for await (const _ of endless) {
  gone.abort();
  break;
}
console.log(JSON.stringify(said));
